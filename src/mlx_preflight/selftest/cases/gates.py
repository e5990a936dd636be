"""Cases of the gates: the self-test's sample and faults, and ways in which a tool looks green."""

from __future__ import annotations

from filelock import FileLock

from mlx_preflight.core.result import Status
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest import faults
from mlx_preflight.selftest.faults import Fault
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import remove, settings, write
from mlx_preflight.selftest.proof import Environments

TESTED = (plan.GATE3_TYPES, plan.GATE4_UNIT, plan.GATE5_INTEGRATION, plan.GATE6_COVERAGE)
"""Gates that run in the project's own environment."""


def project(fault: Fault | None = None) -> Step:
    """Return what writes the self-test's sample, with a fault of it."""

    def act(sample: Sample) -> None:
        faults.write(sample.folder, fault)
        audited = faults.ENVIRONMENT if fault is None else fault.audited
        sample.settings |= {
            "tests_min": 1,
            "audit_environment": audited,
            "audit_database": faults.DATABASE,
        }

    return act


def installed(sample: Sample) -> None:
    """Judge the environment of this sample, made once for all that ask for the same packages."""
    sample.kept.mkdir(parents=True, exist_ok=True)
    with FileLock(sample.kept / "environments.lock"):
        sample.python = Environments(sample.kept / "environments").provide(sample.folder)


def kit(gate: str, fault: Fault | None = None) -> Kit:
    """Return the maker of a gate's cases; its environment is made after the last change."""
    return Kit(gate, (project(fault),))


def own(gate: str, fault: Fault | None = None) -> tuple[Step, ...]:
    """Return what a gate needs beside the files."""
    audits = fault is not None and fault.audited is None and gate == plan.GATE8_AUDIT
    return (installed,) if gate in TESTED or audits else ()


def check(gate: str) -> str:
    """Return the id of a gate's only check."""
    return plan.find_session(gate)[0].checks[0].id


def of_selftest(fault: Fault) -> tuple[Case, ...]:
    """Return the cases of a fault of the self-test: its gates', or clean ones of all."""
    if not fault.gates:
        return tuple(
            kit(gate, fault).clean(fault.name, *own(gate, fault)) for gate in faults_gates()
        )
    return tuple(
        kit(gate, fault).defect(
            check(gate),
            fault.name,
            *own(gate, fault),
            status=STATUS.get((gate, fault.name), Status.FAIL),
        )
        for gate in sorted(fault.gates)
    )


def faults_gates() -> tuple[str, ...]:
    """Return the ids of all gates."""
    return tuple(session.id for session in plan.GATES)


STATUS = {
    (plan.GATE1_FORMAT, "a syntax error"): Status.ERROR,
    (plan.GATE2_LINT, "a syntax error"): Status.ERROR,
    (plan.GATE3_TYPES, "a syntax error"): Status.ERROR,
    (plan.GATE4_UNIT, "only skipped tests"): Status.ERROR,
    (plan.GATE8_AUDIT, "a lock that is older than its project"): Status.ERROR,
}
"""Ends that are no FAIL: the tool could not judge, or nothing was judged."""

WRONG = "def test_wrong() -> None:\n    assert int('1') == 2\n"
RED, BROKEN = Status.FAIL, Status.ERROR
CACHED = '''"""Test with what pytest keeps."""

import pytest


def test_cached(pytestconfig: pytest.Config) -> None:
    """It is empty at first."""
    assert pytestconfig.cache is not None
    assert pytestconfig.cache.get("sample/x", None) is None
'''
INI = "[pytest]\npythonpath = src\naddopts = -p no:hypothesispytest -p no:anyio {more}\n"


def ini(more: str, *lines: str) -> Step:
    """Return what writes pytest's own file, with more options and lines."""
    return write("pytest.ini", INI.format(more=more) + "".join(f"{line}\n" for line in lines))


SUITES: dict[str, tuple[Status, dict[str, str]]] = {
    "a failing test beside a passing one": (RED, {"test_more.py": WRONG}),
    "a fixture that raises": (
        RED,
        {
            "test_more.py": "import pytest\n\n\n@pytest.fixture\ndef one():\n    raise OSError\n"
            "\n\ndef test_one(one):\n    pass\n"
        },
    ),
    "a module that does not import": (RED, {"test_more.py": "import no_such_one\n"}),
    "an exit of 0 before a failing test": (
        BROKEN,
        {
            "test_0.py": "import pytest\n\n\n"
            "def test_enough():\n    pytest.exit('enough', returncode=0)\n",
            "test_z.py": WRONG,
        },
    ),
    "an interrupted run": (
        BROKEN,
        {"test_more.py": "def test_x():\n    raise KeyboardInterrupt\n"},
    ),
    "a suite that dies": (
        BROKEN,
        {"test_more.py": "import os\n\n\ndef test_die():\n    os._exit(0)\n"},
    ),
    "an exit status that a conftest sets": (
        RED,
        {
            "test_more.py": WRONG,
            "conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
        },
    ),
    "results that a conftest empties": (
        BROKEN,
        {
            "conftest.py": "import pathlib\n\n\ndef pytest_unconfigure(config):\n"
            "    pathlib.Path(config.option.xmlpath).write_text('<testsuites/>')\n"
        },
    ),
    "results with a document type": (
        BROKEN,
        {
            "conftest.py": "import pathlib\n\n\ndef pytest_unconfigure(config):\n"
            "    pathlib.Path(config.option.xmlpath).write_text('<!DOCTYPE x><testsuite/>')\n"
        },
    ),
}
"""Name → status, and files in the folder of the tests."""


def suites(gate: str, folder: str) -> tuple[Case, ...]:
    """Return the cases of a test gate whose tests are in a folder."""
    made = [
        kit(gate).defect(
            check(gate),
            name,
            *(write(f"{folder}/{path}", text) for path, text in files.items()),
            installed,
            status=status,
        )
        for name, (status, files) in SUITES.items()
    ]
    sound = {
        "pytest's cache in its configuration": (
            ini("--ff", "cache_dir = .cache-of-tests"),
            write(f"{folder}/test_cached.py", CACHED),
        ),
        "warnings as errors": (ini("", "filterwarnings = error"),),
        "a skip with its reason": (write(f"{folder}/test_more.py", SKIPPED),),
        "options of coverage": (
            ini("--strict-markers"),
            write(".coveragerc", "[run]\nbranch = 1\n"),
        ),
    }
    made += [kit(gate).clean(name, *steps, installed) for name, steps in sound.items()]
    return tuple(made)


SKIPPED = "import pytest\n\n\n@pytest.mark.skip(reason='no GPU')\ndef test_gpu(): ...\n"

STATIC: tuple[Case, ...] = (
    kit(plan.GATE1_FORMAT).defect(
        plan.GATE1,
        "a line that is too long",
        write("src/sample/long.py", "VALUES = [" + ", ".join(["100"] * 40) + "]\n"),
    ),
    kit(plan.GATE1_FORMAT).defect(
        plan.GATE1, "tabs", write("tests/tabs.py", "if True:\n\tX = 1\n")
    ),
    kit(plan.GATE1_FORMAT).clean(
        "a stub and a text",
        *(write("src/sample/stub.pyi", "VALUE: int\n"), write("notes.txt", "a  b\n")),
    ),
    kit(plan.GATE1_FORMAT).clean("a formatted noxfile", write("noxfile.py", '"""Nox."""\n')),
    kit(plan.GATE2_LINT).defect(
        plan.GATE2, "an undefined name", write("tests/x.py", "print(unknown)\n")
    ),
    kit(plan.GATE2_LINT).defect(
        plan.GATE2,
        "a redefined function",
        write("tests/x.py", "def one():\n    pass\n\n\ndef one():\n    pass\n"),
    ),
    kit(plan.GATE2_LINT).clean(
        "a finding that is ignored with its reason",
        write("tests/x.py", "import os  # noqa: F401  (re-exported)\n"),
    ),
    kit(plan.GATE2_LINT).clean(
        "as many findings as are accepted",
        *(write("tests/x.py", "import os\n"), settings(lint_max=1)),
    ),
    kit(plan.GATE3_TYPES).defect(
        plan.GATE3,
        "a missing annotation",
        *(write("src/sample/more.py", "def two(x):\n    return x\n"), installed),
    ),
    kit(plan.GATE3_TYPES).clean(
        "a generic of today",
        *(write("src/sample/more.py", "VALUES: dict[str, list[int]] = {}\n"), installed),
    ),
    kit(plan.GATE6_COVERAGE).defect(
        plan.GATE6,
        "tests that leave no data",
        *(
            write(
                "tests/conftest.py", "import os\n\n\ndef pytest_unconfigure():\n    os._exit(0)\n"
            ),
            installed,
        ),
        status=Status.ERROR,
    ),
    kit(plan.GATE6_COVERAGE).defect(
        plan.GATE6, "no source", *(settings(source="nowhere"), installed), status=Status.ERROR
    ),
    kit(plan.GATE6_COVERAGE).clean(
        "coverage of its own in the options", *(ini("--strict-markers"), installed)
    ),
    kit(plan.GATE6_COVERAGE).clean(
        "a lower limit that is met", *(settings(coverage_min=100.0), installed)
    ),
    kit(plan.GATE7_BUILD).defect(
        plan.GATE7,
        "a readme that is not there",
        write(
            "pyproject.toml",
            faults.PYPROJECT.replace('version = "1.0"', 'version = "1.0"\nreadme = "R.md"'),
        ),
    ),
    kit(plan.GATE7_BUILD).defect(
        plan.GATE7,
        "a table that is no TOML",
        write("pyproject.toml", faults.PYPROJECT + "[tool\n"),
        status=Status.ERROR,
    ),
    kit(plan.GATE7_BUILD).defect(
        plan.GATE7,
        "a version that is none",
        write("pyproject.toml", faults.PYPROJECT.replace('"1.0"', '"one"')),
    ),
    kit(plan.GATE7_BUILD).defect(plan.GATE7, "no sources", remove("src/sample")),
    kit(plan.GATE7_BUILD).clean("data beside the code", write("src/sample/values.json", "{}")),
    kit(plan.GATE7_BUILD).clean("a licence", write("LICENSE", "MIT\n")),
    kit(plan.GATE8_AUDIT).defect(
        plan.GATE8,
        "a database that is not there",
        *(settings(audit_database="nowhere"),),
        status=Status.ERROR,
    ),
    kit(plan.GATE8_AUDIT).defect(
        plan.GATE8,
        "an environment that is empty",
        *(remove("site-packages/jinja2.dist-info"),),
        status=Status.ERROR,
    ),
    kit(plan.GATE8_AUDIT).defect(
        plan.GATE8,
        "an advisory that is no JSON",
        *(write("advisories/BAD-1.json", "{"),),
        status=Status.ERROR,
    ),
    kit(plan.GATE8_AUDIT).clean(
        "the first version without it",
        write(
            "site-packages/jinja2.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: jinja2\nVersion: 2.10.1\n",
        ),
    ),
)

CASES: tuple[Case, ...] = (
    *(kit(gate).clean("as it is", *own(gate)) for gate in faults_gates()),
    *(case for fault in faults.FAULTS for case in of_selftest(fault)),
    *suites(plan.GATE4_UNIT, "tests"),
    *suites(plan.GATE5_INTEGRATION, "tests/acceptance"),
    *STATIC,
)
