"""Benchmarks 1 and 2: the figure of this run, its target, and the trend."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Evidence, Measurement, SessionResult, Status, write_result
from mlx_preflight.plan import register
from tests.gates import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlx_preflight.core.result import CheckResult

    Make = Callable[..., SessionResult]

ROWS = {
    "bench-load": ("ac4-loading", "AC4.2", "warm_load_s", "s", "< 30 s"),
    "bench-inference": (
        *("ac5-inference", "AC5.5", "decode_tokens_per_s", "tokens/s"),
        "> 10 tokens/s",
    ),
}


@pytest.fixture
def record(tmp_path: Path, make_result: Make) -> Callable[..., CheckResult]:
    """Return a function that stores a figure as one run's and then runs the benchmark row."""

    def act(
        row: str,
        value: float,
        run_id: str,
        *,
        status: Status = Status.PASS,
        model: str = "f" * 64,
    ) -> CheckResult:
        source, check_id, name, unit, _ = ROWS[row]
        found = make_result(register.find_session(source)[0], run_id=run_id)
        measured = (Measurement(name, value, unit, samples=(value, value)),)
        checks = tuple(
            (
                dataclasses.replace(
                    check, status=status, evidence=Evidence.EMBEDDED, measurements=measured
                )
                if check.id == check_id
                else check
            )
            for check in found.checks
        )
        whole = dataclasses.replace(found, checks=checks, model={"fingerprint": model})
        write_result(tmp_path / ".preflight" / "results", whole)
        return sample.run(tmp_path, row, run_id=run_id)

    return act


@pytest.mark.parametrize("row", ROWS)
def test_the_figure_is_recorded_beside_a_target_that_is_not_enforced(
    record: Callable[..., CheckResult], row: str
) -> None:
    """A figure far off the target passes; target, samples and evidence are kept."""
    check = record(row, 1000.0 if row == "bench-load" else 0.5, "r1")
    assert check.status is Status.PASS
    assert check.evidence is Evidence.EMBEDDED
    assert str(sample.value(check, "target")).startswith(ROWS[row][4])
    assert str(sample.value(check, "target")).endswith("not enforced")
    assert len(check.measurements[0].samples) == 2
    assert "first run" in check.reason


def test_earlier_runs_of_the_same_machine_and_model_are_the_trend(
    tmp_path: Path, record: Callable[..., CheckResult]
) -> None:
    """The median is of earlier runs only, a run counts once, another model not at all."""
    for run_id, value in (("r1", 2.0), ("r2", 4.0), ("r3", 9.0), ("r3", 9.0)):
        check = record("bench-load", value, run_id)
    assert sample.value(check, "earlier_median") == 3.0
    assert sample.value(check, "ratio_to_earlier") == 3.0
    lines = (tmp_path / ".preflight" / "benchmarks.jsonl").read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == ["r1", "r2", "r3"]
    assert {"date", "processor", "model", "value"} <= set(json.loads(lines[0]))
    assert "first run" in record("bench-load", 1.0, "r4", model="0" * 64).reason


@pytest.mark.parametrize("row", ROWS)
def test_without_the_source_it_is_blocked(tmp_path: Path, row: str) -> None:
    """No result of this run, no figure; nothing is appended to the trend."""
    check = sample.run(tmp_path, row)
    assert check.status is Status.BLOCKED
    assert ROWS[row][0] in check.reason
    assert not (tmp_path / ".preflight" / "benchmarks.jsonl").exists()


@pytest.mark.parametrize("status", [Status.FAIL, Status.ERROR, Status.BLOCKED])
def test_the_figure_of_a_check_that_did_not_pass_is_not_recorded(
    tmp_path: Path, record: Callable[..., CheckResult], status: Status
) -> None:
    """A time measured while something was wrong would spoil the trend."""
    assert record("bench-load", 1.0, "r1", status=status).status is Status.BLOCKED
    assert not (tmp_path / ".preflight" / "benchmarks.jsonl").exists()


@pytest.mark.parametrize("text", ["{", "[1]", '{"value": "fast"}', '{"run_id": "r0"}', "\xff"])
def test_a_damaged_trend_is_blocked_and_left_alone(
    tmp_path: Path, record: Callable[..., CheckResult], text: str
) -> None:
    """A file that this module did not write is never overwritten."""
    path = tmp_path / ".preflight" / "benchmarks.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(f"{text}\n", encoding="latin-1")
    check = record("bench-load", 1.0, "r1")
    assert check.status is Status.BLOCKED
    assert path.read_text(encoding="latin-1") == f"{text}\n"


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("value", [0.0, -5.0])
def test_what_nothing_takes_is_an_error(
    tmp_path: Path, record: Callable[..., CheckResult], row: str, value: float
) -> None:
    """Neither recorded nor passed."""
    check = record(row, value, "r1")
    assert check.status is Status.ERROR
    assert "which nothing takes" in check.reason
    assert not (tmp_path / ".preflight" / "benchmarks.jsonl").exists()
