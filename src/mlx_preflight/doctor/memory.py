"""Memory: the budget against the machine, the last report against the budget."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core import environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import SessionResult, Status, read_result
from mlx_preflight.core.units import format_bytes
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.plan import register, remedies


def check(budget_bytes: int, state: Path) -> list[Finding]:
    """Return findings on the budget and on what AC6 last measured."""
    ram = environment.memory_bytes()
    saw = f"budget {format_bytes(budget_bytes)}, RAM {format_bytes(ram)}"
    if budget_bytes > ram:
        why = "a run that fits the budget does not fit this machine"
        fix = f"--budget-gb {ram / 1e9 * 0.7:.0f}"
        first = Finding("memory", Severity.PROBLEM, saw, why, fix)
    else:
        first = Finding("memory", Severity.GOOD, saw, "the budget is within the machine's memory")
    return [first, *_measured(state)]


def _measured(state: Path) -> list[Finding]:
    path = Workspace(state).result(register.AC6_MEMORY)
    if not path.is_file():
        saw = "no memory measurement of this project yet"
        why = "whether training fits is not known"
        fix = "nox -s ac6-memory"
        return [Finding("memory", Severity.UNKNOWN, saw, why, fix)]
    try:
        found = read_result(path)
    except ResultError as error:
        why = "an unreadable result proves nothing"
        return [Finding("memory", Severity.UNKNOWN, str(error), why, "nox -s ac6-memory")]
    return [_within(found)]


def _within(found: SessionResult) -> Finding:
    check = next((item for item in found.checks if item.id == register.AC6_7), None)
    if check is None:
        why = "the check that compares with the budget is missing"
        return Finding("memory", Severity.UNKNOWN, "no AC6.7", why, "nox -s ac6-memory")
    saw = f"{check.id} {check.status} ({check.evidence}, {found.started[:10]}): {check.reason}"
    if check.status is Status.PASS:
        return Finding("memory", Severity.GOOD, saw, "training memory was within the budget")
    severity = Severity.PROBLEM if check.status is Status.FAIL else Severity.UNKNOWN
    why = "training does not fit, or is not known to"
    fix = check.remedy or remedies.OVER_BUDGET
    return Finding("memory", severity, saw, why, fix)
