"""Gates 4 to 6: real pytest and real coverage on a real project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

GATES = {"gate4-unit": "tests__test_more", "gate5-integration": "tests__acceptance__test_more"}


@pytest.mark.slow
@pytest.mark.parametrize("gate", GATES)
def test_passing_tests_pass_and_are_counted_once(tmp_path: Path, gate: str) -> None:
    """Each test gate runs its own folder only: one test each."""
    check = sample.run(sample.make(tmp_path), gate)
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "tests_passed") == 1


@pytest.mark.slow
@pytest.mark.parametrize("gate", GATES)
def test_a_failing_test_is_named_with_its_message(tmp_path: Path, gate: str) -> None:
    """The reason holds the test's name and the first line of its message."""
    text = "def test_wrong() -> None:\n    assert 1 == 2, 'one is not two'\n"
    check = sample.run(sample.make(tmp_path, **{GATES[gate]: text}), gate)
    assert check.status is Status.FAIL
    assert "test_wrong" in check.reason
    assert "one is not two" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "import pytest\n\n\n@pytest.mark.skip(reason='later')\ndef test_x() -> None: ...\n",
        "import pytest\n\n\n@pytest.mark.xfail\ndef test_x() -> None:\n    assert False\n",
    ],
)
def test_only_skipped_tests_never_pass(tmp_path: Path, text: str) -> None:
    """A suite that skips or expects all failures exits 0 and is ERROR here."""
    project = sample.make(tmp_path)
    (project / "tests" / "test_add.py").write_text(text)
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.ERROR
    assert "no test passed" in check.reason


@pytest.mark.slow
def test_no_tests_are_an_error(tmp_path: Path) -> None:
    """An empty folder of tests is ERROR: pytest's exit 5 is not a pass."""
    project = sample.make(tmp_path)
    (project / "tests" / "test_add.py").unlink()
    assert sample.run(project, "gate4-unit").status is Status.ERROR


@pytest.mark.slow
def test_a_missing_acceptance_folder_is_an_error(tmp_path: Path) -> None:
    """Without the folder gate 5 says so instead of passing."""
    check = sample.run(sample.make(tmp_path), "gate5-integration", acceptance="tests/none")
    assert check.status is Status.ERROR
    assert "tests/none" in check.reason


CACHED = """def test_remembers(pytestconfig) -> None:
    assert pytestconfig.cache.get("seen", None) is None
    pytestconfig.cache.set("seen", 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "configured",
    [
        'addopts = "--ff"',
        'addopts = "--lf --nf"',
        'addopts = "--sw"',
        'cache_dir = ".cache-of-tests"\nfilterwarnings = ["error"]',
        'cache_dir = ".cache-of-tests"\naddopts = "--strict-config"',
        'addopts = "-p no:cacheprovider"\nfilterwarnings = ["error"]',
    ],
)
def test_a_project_may_use_pytests_cache(tmp_path: Path, configured: str) -> None:
    """As by hand; what an earlier run left there leaves no test out, nor anything behind."""
    project = sample.make(tmp_path)
    table = sample.PYPROJECT.partition("[tool.pytest")[0]
    (project / "pyproject.toml").write_text(
        f'{table}[tool.pytest.ini_options]\npythonpath = ["src"]\n{configured}\n'
    )
    if "no:cache" not in configured:
        (project / "tests" / "test_cached.py").write_text(CACHED)
    counts = []
    for number in (1, 2):
        check = sample.run(project, "gate4-unit", run_id=f"r{number}")
        assert check.status is Status.PASS, check.reason
        counts.append(sample.value(check, "tests_passed"))
    assert counts == [1 + ("no:cache" not in configured)] * 2
    assert not (project / ".pytest_cache").exists()
    assert not (project / ".cache-of-tests").exists()


@pytest.mark.slow
def test_too_few_tests_fail(tmp_path: Path) -> None:
    """One passed test is not ten."""
    check = sample.run(sample.make(tmp_path), "gate4-unit", tests_min=10)
    assert check.status is Status.FAIL
    assert "10 must pass" in check.reason


@pytest.mark.slow
def test_a_collection_error_fails(tmp_path: Path) -> None:
    """A test module that cannot be imported is not passed over."""
    project = sample.make(tmp_path, tests__test_more="import no_such_module\n")
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.FAIL
    assert "No module named 'no_such_module'" in check.reason


@pytest.mark.slow
def test_a_suite_that_dies_is_an_error(tmp_path: Path) -> None:
    """A test that ends the process leaves no JUnit file, which is ERROR with the cause."""
    text = "import os\n\n\ndef test_die() -> None:\n    os._exit(0)\n"
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate4-unit")
    assert check.status is Status.ERROR


@pytest.mark.slow
def test_the_tests_do_not_see_the_run_that_judges_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run id, nox's variables and tokens are not in the environment of the tests."""
    for name in ("PREFLIGHT_RUN_ID", "NOX_PARALLEL", "HF_TOKEN"):
        monkeypatch.setenv(name, "x")
    text = (
        "import os\n\n\ndef test_clean() -> None:\n"
        "    assert not {'PREFLIGHT_RUN_ID', 'NOX_PARALLEL', 'HF_TOKEN'} & set(os.environ)\n"
    )
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate4-unit")
    assert check.status is Status.PASS, check.reason


def lines(covered: int, missed: int) -> str:
    """Return a module of exactly so many covered and missed statements."""
    body = [f"A{n} = {n}" for n in range(covered - 1)]
    return "\n".join([*body, "if not A0 + 1:", *[f"    B{n} = {n}" for n in range(missed)]]) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missed", "status"), [(77, Status.FAIL), (75, Status.PASS), (74, Status.PASS)]
)
def test_coverage_is_compared_exactly(tmp_path: Path, missed: int, status: Status) -> None:
    """84.6 % of 500 lines fails at 85 although it rounds to 85; exactly 85 passes."""
    project = sample.make(tmp_path)
    (project / "src" / "sample" / "__init__.py").write_text(
        lines(500 - missed - 2, missed) + "def add(a, b):\n    return a + b\n"
    )
    check = sample.run(project, "gate6-coverage")
    assert check.status is status, check.reason
    assert sample.value(check, "statements") == 500
    assert sample.value(check, "coverage_percent") == pytest.approx(100 * (500 - missed) / 500)


def test_a_never_imported_module_counts(tmp_path: Path) -> None:
    """A module that no test imports lowers the share."""
    project = sample.make(tmp_path, src__sample__alone=lines(20, 2))
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.FAIL
    assert "alone.py" in check.reason


@pytest.mark.slow
def test_coverage_reuses_what_this_run_measured(tmp_path: Path) -> None:
    """After gates 4 and 5 of the same run nothing is run again; of another run, it is."""
    text = (
        "from pathlib import Path\n\n\ndef test_count() -> None:\n"
        "    with Path('count').open('a') as stream:\n        stream.write('x')\n"
    )
    project = sample.make(tmp_path, tests__test_count=text)
    sample.run(project, "gate4-unit")
    sample.run(project, "gate5-integration")
    assert sample.run(project, "gate6-coverage").status is Status.PASS
    assert (project / "count").read_text() == "x"
    check = sample.run(project, "gate6-coverage", run_id="r2")
    assert "measured here" in str(sample.value(check, "origin"))
    assert (project / "count").read_text() == "xx"


@pytest.mark.slow
def test_an_empty_or_missing_source_is_an_error(tmp_path: Path) -> None:
    """No statement to cover, or no folder, is ERROR and not 100 %."""
    project = sample.make(tmp_path)
    assert sample.run(project, "gate6-coverage", source="none").status is Status.ERROR
    (project / "empty").mkdir()
    assert sample.run(project, "gate6-coverage", source="empty").status is Status.ERROR


@pytest.mark.slow
def test_coverage_data_stays_out_of_the_project(tmp_path: Path) -> None:
    """No data file lies in the project's root, where a build would meet it."""
    project = sample.make(tmp_path)
    sample.run(project, "gate4-unit")
    assert not list(project.glob(".coverage*"))
    stamp = project / ".preflight" / "artifacts" / "gate4-unit" / "stamp.json"
    assert json.loads(stamp.read_text())["run_id"] == "r1"
