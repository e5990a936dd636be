"""Judge regression tests 1 and 2 from the gates' results; nothing is run twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlx_preflight.errors import BlockedError
from mlx_preflight.integration import sources
from mlx_preflight.plan import Session
from mlx_preflight.result import CheckResult, Measurement, Outcome, SessionResult, Status
from mlx_preflight.runner import Context

GATES = {
    "regression-tests": ("gate4-unit", "gate5-integration"),
    "regression-gates": ("gate2-lint", "gate3-types", "gate6-coverage"),
}

COMPARED = frozenset(
    [
        *("tests_passed", "tests_failed", "tests_skipped", "tests_recorded", "coverage_percent"),
        *("findings", "findings_new", "errors", "errors_new", "suppressions"),
    ]
)
"""Measurements of the gates that the plan compares with its baseline."""

# The numbers of Sprint 3, as the test plan states them.
_TESTS = "at least 10 passed, 3 skipped acceptable"
_COUNTS = "28 ruff errors, 450 mypy errors at most, 85 % of lines covered"


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold the results of the gates that a regression test compares."""

    gates: tuple[SessionResult, ...]


def gather(session: Session, context: Context) -> Facts:
    """Read the gates' results of this run.

    Raises:
        BlockedError: One of them has none, or all of them are off in this project.
    """
    names = [name for name in GATES[session.id] if name not in context.settings.off]
    if not names:
        raise BlockedError(f"{' and '.join(GATES[session.id])} are off, so nothing is compared")
    return Facts(tuple(sources.of_this_run(context, name) for name in names))


def reg1(facts: Facts) -> Outcome:
    """Prove that both test gates of this run passed."""
    return _judge(facts, _TESTS)


def reg2(facts: Facts) -> Outcome:
    """Prove that lint, types and coverage of this run keep what was accepted."""
    return _judge(facts, _COUNTS)


def _judge(facts: Facts, baseline: str) -> Outcome:
    checks: list[CheckResult] = [check for gate in facts.gates for check in gate.checks]
    worst = Status.worst([check.status for check in checks])
    reason = "; ".join(f"{check.id} {check.status}: {check.reason}" for check in checks)
    measured = [
        replace(item, name=f"{check.id.lower()}_{item.name}")
        for check in checks
        for item in check.measurements
        if item.name in COMPARED
    ]
    measured.append(Measurement("plan_baseline", baseline, "text"))
    return Outcome(worst, reason, measurements=tuple(measured))
