"""Regression tests 1 and 2: judged from result files of the same run, nothing else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.result import Measurement, SessionResult, Status, write_result
from mlx_preflight.plan import register
from tests.gates import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlx_preflight.core.result import CheckResult

    Make = Callable[..., SessionResult]

ROWS = {
    "regression-tests": ("gate4-unit", "gate5-integration"),
    "regression-gates": ("gate2-lint", "gate3-types", "gate6-coverage"),
}
SEEN = (
    Measurement("tests_passed", 12, "count", ">= 10"),
    Measurement("tests_skipped", 3, "count"),
    Measurement("duration_s", 1.5, "s"),
)


def store(folder: Path, make: Make, names: tuple[str, ...], **changes: Any) -> None:
    """Write passing results of some gates, the last one with changed fields of its check."""
    for name in names:
        session, _ = register.find_session(name)
        found = make(session, run_id="r1")
        check = dataclasses.replace(found.checks[0], measurements=SEEN)
        if name == names[-1]:
            check = dataclasses.replace(check, **changes)
        whole = dataclasses.replace(found, checks=(check,))
        write_result(folder / ".preflight" / "results", whole)


def run(folder: Path, row: str, **options: str) -> CheckResult:
    """Run one regression row."""
    return sample.run(folder, row, **options)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_passes_when_every_gate_passed(tmp_path: Path, make_result: Make, row: str) -> None:
    """PASS needs a result of each gate, all of this run."""
    store(tmp_path, make_result, ROWS[row])
    assert run(tmp_path, row).status is Status.PASS


def test_the_gates_numbers_stand_beside_the_plans(tmp_path: Path, make_result: Make) -> None:
    """Each count carries its gate, and the plan's baseline is quoted."""
    store(tmp_path, make_result, ROWS["regression-tests"])
    check = run(tmp_path, "regression-tests")
    assert sample.value(check, "gate4_tests_passed") == 12
    assert sample.value(check, "gate5_tests_skipped") == 3
    assert sample.value(check, "plan_baseline") == "at least 10 passed, 3 skipped acceptable"
    assert not any("duration" in item.name for item in check.measurements)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("status", [Status.FAIL, Status.ERROR, Status.BLOCKED])
def test_a_row_is_as_bad_as_its_worst_gate(
    tmp_path: Path, make_result: Make, row: str, status: Status
) -> None:
    """A gate that did not pass is never a regression test that did."""
    store(tmp_path, make_result, ROWS[row], status=status, reason="it broke")
    check = run(tmp_path, row)
    assert check.status is status
    assert "it broke" in check.reason


@pytest.mark.parametrize("row", ROWS)
def test_a_missing_gate_blocks(tmp_path: Path, make_result: Make, row: str) -> None:
    """Without one of the results the row names it and the command that makes it."""
    *some, last = ROWS[row]
    store(tmp_path, make_result, tuple(some))
    check = run(tmp_path, row)
    assert check.status is Status.BLOCKED
    assert f"{last} has no result in run r1" in check.reason
    assert f"nox -s {last}" in check.remedy


def test_the_result_of_another_run_blocks(tmp_path: Path, make_result: Make) -> None:
    """Yesterday's green gates say nothing about today."""
    store(tmp_path, make_result, ROWS["regression-tests"])
    check = run(tmp_path, "regression-tests", run_id="r2")
    assert check.status is Status.BLOCKED
    assert "is of run r1" in check.reason


def test_a_damaged_result_blocks(tmp_path: Path, make_result: Make) -> None:
    """A file that is no result is named, not passed over."""
    store(tmp_path, make_result, ROWS["regression-tests"])
    (tmp_path / ".preflight" / "results" / "gate4-unit.json").write_text("{")
    check = run(tmp_path, "regression-tests")
    assert check.status is Status.BLOCKED
    assert "gate4-unit" in check.reason


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("answers", [("GATE9",), (), ("GATE4", "GATE4")])
def test_a_result_that_answers_something_else_is_an_error(
    tmp_path: Path, make_result: Make, row: str, answers: tuple[str, ...]
) -> None:
    """Another check's PASS, none, or one twice is not the gate's."""
    store(tmp_path, make_result, ROWS[row])
    session, _ = register.find_session(ROWS[row][0])
    found = make_result(session, run_id="r1")
    own = session.checks[0].id
    checks = tuple(
        dataclasses.replace(found.checks[0], id=own if name == "GATE4" else name)
        for name in answers
    )
    write_result(tmp_path / ".preflight" / "results", dataclasses.replace(found, checks=checks))
    check = run(tmp_path, row)
    assert check.status is Status.ERROR
    assert "does not answer what the plan asks" in check.reason
