"""Gates 4 to 6: ways in which pytest and coverage look green and prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.gates import coverage, pytest_run
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

INTERRUPT = "def test_stop() -> None:\n    raise KeyboardInterrupt\n"


def options(project: Path, lines: str) -> None:
    """Put further lines into the sample's pytest table."""
    path = project / "pyproject.toml"
    text = path.read_text().replace("no:anyio", f"no:anyio {lines}")
    path.write_text(text)


def conftest(project: Path, text: str) -> None:
    """Give the sample a conftest that runs when pytest has written its JUnit file."""
    body = "".join(f"    {line}\n" for line in text.splitlines())
    (project / "tests" / "conftest.py").write_text(
        f"from pathlib import Path\n\n\ndef pytest_unconfigure(config):\n{body}"
    )


def test_an_interrupted_run_is_an_error_although_tests_passed(tmp_path: Path) -> None:
    """Exit 2 without a failed test says that the rest never ran."""
    check = sample.run(sample.make(tmp_path, tests__test_more=INTERRUPT), "gate4-unit")
    assert check.status is Status.ERROR
    assert "interrupted" in check.reason


def test_an_unknown_option_is_an_error(tmp_path: Path) -> None:
    """Exit 4 leaves no JUnit file, and pytest's own words are the reason."""
    project = sample.make(tmp_path)
    options(project, "--no-such-option")
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.ERROR
    assert "no-such-option" in check.reason


def test_a_junit_file_with_a_doctype_is_refused(tmp_path: Path) -> None:
    """A project can write the file itself; entities are never expanded."""
    project = sample.make(tmp_path)
    conftest(project, "Path(config.option.xmlpath).write_text('<!DOCTYPE x><testsuite/>')")
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.ERROR
    assert "DOCTYPE" in check.reason


def test_a_junit_file_without_tests_is_an_error(tmp_path: Path) -> None:
    """Exit 0 and an empty JUnit file prove nothing."""
    project = sample.make(tmp_path)
    conftest(project, "Path(config.option.xmlpath).write_text('<testsuites/>')")
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.ERROR
    assert "no test passed" in check.reason


def test_options_of_the_shell_do_not_choose_the_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTEST_ADDOPTS of whoever runs the gate cannot deselect the failing test."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k test_add")
    text = "def test_wrong() -> None:\n    assert False\n"
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate4-unit")
    assert check.status is Status.FAIL
    assert "1 of 2 tests failed" in check.reason


def test_skips_are_counted_and_shown_with_their_reason(tmp_path: Path) -> None:
    """A skipped test beside a passed one is allowed and named."""
    text = "import pytest\n\n\n@pytest.mark.skip(reason='no GPU')\ndef test_gpu() -> None: ...\n"
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate4-unit")
    assert check.status is Status.PASS
    assert sample.value(check, "tests_skipped") == 1
    assert "test_gpu (no GPU)" in check.reason


def test_one_acceptance_test_is_enough(tmp_path: Path) -> None:
    """`tests-min` is about the unit tests; the acceptance folder needs one that passed."""
    check = sample.run(sample.make(tmp_path), "gate5-integration", tests_min=10)
    assert check.status is Status.PASS, check.reason


def test_a_projects_own_cov_option_does_not_steal_the_data(tmp_path: Path) -> None:
    """With `--cov --cov-fail-under` in addopts, gates 4 to 6 measure as without."""
    project = sample.make(tmp_path)
    options(project, "--cov=src --cov-fail-under=100")
    assert sample.run(project, "gate4-unit").status is Status.PASS
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "coverage_percent") == 100


def test_lost_coverage_data_is_measured_again(tmp_path: Path) -> None:
    """A stamp alone does not vouch for data that is gone or empty."""
    project = sample.make(tmp_path)
    folder = project / ".preflight" / "artifacts" / "gate4-unit"
    sample.run(project, "gate4-unit")
    (data,) = folder.glob("coverage*")
    _, context = sample.session_and_context(project, "gate6-coverage")
    assert pytest_run.recorded_exit_code(context, "gate4-unit") == 0
    data.unlink()
    assert pytest_run.recorded_exit_code(context, "gate4-unit") is None
    data.write_bytes(b"")
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.PASS, check.reason
    assert "gate4-unit measured here" in str(sample.value(check, "origin"))


def test_coverage_of_failed_tests_says_so(tmp_path: Path) -> None:
    """Gate 6 judges the share; that the tests failed stands beside it."""
    text = "def test_wrong() -> None:\n    assert False\n"
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate6-coverage")
    assert check.status is Status.PASS, check.reason
    assert "gate4-unit measured here, pytest exited 1" in check.reason


def test_tests_that_leave_no_coverage_data_are_an_error(tmp_path: Path) -> None:
    """The share of the acceptance tests alone is not the project's."""
    project = sample.make(tmp_path)
    conftest(project, "__import__('os')._exit(0)")
    check = sample.run(project, "gate6-coverage")
    assert check.status is Status.ERROR
    assert "gate4-unit left no coverage data" in check.reason


def test_a_share_just_below_the_limit_is_not_shown_as_the_limit(tmp_path: Path) -> None:
    """84.999 % of 100,000 lines is below 85 %, and the reason does not round it up."""
    facts = coverage.gather(
        *sample.session_and_context(sample.make(tmp_path), "gate6-coverage")
    )  # a real report, whose totals are then enlarged
    facts.totals.update(num_statements=100_000, missing_lines=15_001)
    outcome = coverage.gate6(facts)
    assert outcome.status is Status.FAIL
    assert "84.99 %" in outcome.reason
    facts.totals.update(missing_lines=15_000)
    assert coverage.gate6(facts).status is Status.PASS
