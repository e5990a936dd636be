"""Regression tests 1 and 2 from the gates' results; nothing is run twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.result import CheckResult, Measurement, Outcome, SessionResult, Status
from mlx_preflight.criteria import sources
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

GATES = {
    register.REGRESSION_TESTS: (register.GATE4_UNIT, register.GATE5_INTEGRATION),
    register.REGRESSION_GATES: (
        *(register.GATE2_LINT, register.GATE3_TYPES),
        register.GATE6_COVERAGE,
    ),
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
class RegressionFacts:
    """Results of the gates that a regression test compares."""

    gates: tuple[SessionResult, ...]


def gather(session: Session, context: Context) -> RegressionFacts:
    """Read the gates' results of this run.

    Raises:
        BlockedError: One of them has none, or all of them are off in this project.
    """
    names = [name for name in GATES[session.id] if name not in context.settings.off]
    if not names:
        raise BlockedError(f"{' and '.join(GATES[session.id])} are off, so nothing is compared")
    return RegressionFacts(tuple(sources.read_this_run(context, name) for name in names))


def _judge(facts: RegressionFacts, *, baseline: str) -> Outcome:
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


CHECKS: dict[str, Callable[[RegressionFacts], Outcome]] = {
    register.REG1: partial(_judge, baseline=_TESTS),
    register.REG2: partial(_judge, baseline=_COUNTS),
}
