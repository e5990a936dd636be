"""Examine memory: the budget against the machine, the last report against the budget."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight import environment, remedies
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.errors import ResultError
from mlx_preflight.result import SessionResult, Status, read_result


def examine(budget_bytes: int, state: Path) -> list[Finding]:
    """Return findings on the budget and on what AC6 last measured.

    Args:
        budget_bytes: Memory budget.
        state: The project's `.preflight` folder.
    """
    ram = environment.memory_bytes()
    saw = f"budget {budget_bytes / 1e9:.1f} GB, RAM {ram / 1e9:.1f} GB"
    if budget_bytes > ram:
        first = Finding(
            "memory",
            Severity.PROBLEM,
            saw,
            "a run that fits the budget does not fit this machine",
            f"--budget-gb {ram / 1e9 * 0.7:.0f}",
        )
    else:
        first = Finding("memory", Severity.GOOD, saw, "the budget is within the machine's memory")
    return [first, *_measured(state)]


def _measured(state: Path) -> list[Finding]:
    path = state / "results" / "ac6-memory.json"
    if not path.is_file():
        return [
            Finding(
                "memory",
                Severity.UNKNOWN,
                "no memory measurement of this project yet",
                "whether training fits is not known",
                "nox -s ac6-memory",
            )
        ]
    try:
        found = read_result(path)
    except ResultError as error:
        why = "an unreadable result proves nothing"
        return [Finding("memory", Severity.UNKNOWN, str(error), why, "nox -s ac6-memory")]
    return [_within(found)]


def _within(found: SessionResult) -> Finding:
    check = next((item for item in found.checks if item.id == "AC6.7"), None)
    if check is None:
        why = "the check that compares with the budget is missing"
        return Finding("memory", Severity.UNKNOWN, "no AC6.7", why, "nox -s ac6-memory")
    saw = f"AC6.7 {check.status} ({check.evidence}, {found.started[:10]}): {check.reason}"
    if check.status is Status.PASS:
        return Finding("memory", Severity.GOOD, saw, "training memory was within the budget")
    severity = Severity.PROBLEM if check.status is Status.FAIL else Severity.UNKNOWN
    return Finding(
        "memory",
        severity,
        saw,
        "training does not fit, or is not known to",
        check.remedy or remedies.OVER_BUDGET,
    )
