"""Tests that did not run: collected ids are the reported ones, whatever a suite says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import mcp
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_preflight.core.result import Outcome

pytestmark = pytest.mark.slow

FAILING = "def test_wrong() -> None:\n    assert int('1') == 2\n"
EXIT = f"""import pytest


def test_enough() -> None:
    pytest.exit("enough", returncode=0)


{FAILING}"""
OVERWRITE = """import os
import sys
from pathlib import Path


def test_overwrites(pytestconfig) -> None:
    Path(pytestconfig.option.xmlpath).write_text(
        "<testsuites><testsuite><testcase classname='t' name='a'/></testsuite></testsuites>"
    )
    print("7 passed in 0.01s", file=sys.__stdout__, flush=True)
    os._exit(0)
"""
GREEN = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
BOAST = """import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip(reason="not here"))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("7 passed in 0.01s")
"""
FORGED = """from pathlib import Path


def pytest_unconfigure(config):
    Path(config.option.xmlpath).write_text(
        "<testsuites><testsuite><testcase classname='t' name='a'/></testsuite></testsuites>"
    )
"""

CASES = {
    "a test ends the run": ({"more": EXIT}, Status.ERROR, "did not run"),
    "the result file is another": ({"more": OVERWRITE}, Status.ERROR, "did not run"),
    "the exit code is another": (
        {"more": FAILING, "conftest": GREEN},
        Status.FAIL,
        "1 of 2 tests failed",
    ),
    "all are skipped": ({"conftest": BOAST}, Status.ERROR, "no test passed"),
    "nothing is run": (
        {"conftest": "def pytest_runtestloop(session):\n    return True\n"},
        Status.ERROR,
        "did not run",
    ),
    "failures are left out of the file": (
        {"more": FAILING, "conftest": GREEN + "\n\n" + FORGED},
        Status.ERROR,
        "its JUnit file names none",
    ),
    "the end is cut off": (
        {"conftest": "import os\n\n\ndef pytest_sessionfinish():\n    os._exit(0)\n"},
        Status.ERROR,
        "",
    ),
}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write tests and conftest into a folder of tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / (f"{name}.py" if name == "conftest" else f"test_{name}.py")
        path.write_text(text)


@pytest.mark.parametrize("case", CASES)
def test_the_unit_gate_believes_no_suite_about_itself(tmp_path: Path, case: str) -> None:
    """What was collected and did not report did not run."""
    files, status, words = CASES[case]
    project = sample.make(tmp_path)
    write(project / "tests", files)
    check = sample.run(project, "gate4-unit")
    assert check.status is status, check.reason
    assert words in check.reason


def outcome_of(project: Path) -> Outcome:
    """Return what INT2.4 says of a project's MCP tests."""
    session, context = sample.session_and_context(project, "mcp")
    nothing = ChildRun((), 0, "", "", 0.0, truncated=False)
    return mcp.int2_4(mcp.ServerFacts({}, mcp._tests(session, context), nothing))


@pytest.mark.parametrize("case", ["a test ends the run", "all are skipped"])
def test_the_mcp_tests_are_judged_by_the_same_code(tmp_path: Path, case: str) -> None:
    """Neither the exit code nor a printed line makes them pass."""
    files, status, words = CASES[case]
    project = sample.make(tmp_path)
    write(project / "tests" / "mcp", {"add": sample.TEST, **files})
    outcome = outcome_of(project)
    assert outcome.status is status, outcome.reason
    assert words in outcome.reason


def test_mcp_tests_that_pass_pass(tmp_path: Path) -> None:
    """A skipped one beside them needs no reason here."""
    skipped = "import pytest\n\n\n@pytest.mark.skip\ndef test_later() -> None: ...\n"
    project = sample.make(tmp_path)
    write(project / "tests" / "mcp", {"add": sample.TEST, "later": skipped})
    outcome = outcome_of(project)
    assert outcome.status is Status.PASS, outcome.reason
    assert outcome.reason.startswith("1 passed, 1 skipped")


CLEAN = """import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("number", [1, 2], ids=["a[1]", "b::c"])
def test_numbers(number: int) -> None:
    assert number


def test_fixture_error_is_no_mystery(tmp_path) -> None:
    assert "preflight" not in os.environ.get("PYTHONPATH", "")
    assert not [name for name in os.environ if name == "PREFLIGHT_TESTS_RECORD"]


def test_children_are_their_own(tmp_path) -> None:
    (tmp_path / "test_inner.py").write_text("def test_inner() -> None: ...\\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0


def test_a_fork_is_no_pytest() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


@pytest.mark.xfail(reason="known")
def test_known() -> None:
    assert False
"""


@pytest.mark.parametrize("options", ["", "-n 2 --dist loadgroup"])
def test_a_clean_suite_reports_every_test(tmp_path: Path, options: str) -> None:
    """Also in parallel, with odd ids, children and forks: nothing is missed, nothing left over."""
    project = sample.make(tmp_path, tests__test_more=CLEAN)
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace("no:anyio", f"no:anyio {options}"))
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "tests_passed") == 6


def test_what_the_project_leaves_out_is_counted(tmp_path: Path) -> None:
    """A `-m` in the project's own options is said, as `tests-select` is."""
    text = "import pytest\n\n\n@pytest.mark.slow\ndef test_slow() -> None: ...\n"
    project = sample.make(tmp_path, tests__test_more=text)
    table = project / "pyproject.toml"
    options = 'no:anyio -m \'not slow\'"\nmarkers = ["slow: takes long"]\n#'
    table.write_text(table.read_text().replace("no:anyio", options))
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.PASS, check.reason
    assert "1 did not run: the project's own options" in check.reason


SPAWNED = """import subprocess
import sys


def test_add() -> None:
    code = "import sample; print(sample.add(1, 2))"
    done = subprocess.run([sys.executable, "-c", code], cwd="src", capture_output=True, text=True)
    assert done.stdout == "3\\n"
"""


def test_workers_of_xdist_are_measured(tmp_path: Path) -> None:
    """As `pytest --cov` does; that the controller runs no line is no 0 %."""
    project = sample.make(tmp_path)
    (project / "tests" / "acceptance" / "test_whole.py").unlink()
    (project / "tests" / "acceptance").rmdir()
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace("no:anyio", "no:anyio -n 2 --cov=sample"))
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "coverage_percent") == 100


def test_code_that_nobody_saw_is_no_share(tmp_path: Path) -> None:
    """Tests that only start processes leave no data: ERROR with the setting, then right."""
    project = sample.make(tmp_path, tests__test_add=SPAWNED, tests__acceptance__test_whole=SPAWNED)
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.ERROR
    assert "no line was seen to run" in check.reason
    assert 'patch = ["subprocess"]' in check.remedy
    table = project / "pyproject.toml"
    table.write_text(f'{table.read_text()}\n[tool.coverage.run]\npatch = ["subprocess"]\n')
    check = sample.run(project, "gate6-coverage", run_id="r2")
    assert check.status is Status.PASS, check.reason


@pytest.mark.parametrize("name", ["a [b] c", "per%cent$HOME;'x"])
def test_a_folder_of_any_name_is_judged(tmp_path: Path, name: str) -> None:
    """Brackets, percent signs and variables in a path are its letters."""
    project = sample.make(tmp_path / name)
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.PASS, check.reason
    assert "exited" not in check.reason
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.PASS, check.reason
