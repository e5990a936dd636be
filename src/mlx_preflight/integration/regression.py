"""Judge regression tests 1 and 2 from the gates' results; nothing is run twice."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_preflight.integration import sources
from mlx_preflight.plan import Session
from mlx_preflight.result import CheckResult, Measurement, Outcome, SessionResult, Status
from mlx_preflight.runner import Context

GATES = {
    "regression-tests": ("gate4-unit", "gate5-integration"),
    "regression-gates": ("gate2-lint", "gate3-types", "gate6-coverage"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold the results of the gates that a regression test compares."""

    gates: tuple[SessionResult, ...]


def gather(session: Session, context: Context) -> Facts:
    """Read the gates' results of this run.

    Raises:
        BlockedError: One of them has none.
    """
    return Facts(tuple(sources.of_this_run(context, name) for name in GATES[session.id]))


def reg1(facts: Facts) -> Outcome:
    """Prove that both test gates of this run passed."""
    return _judge(facts)


def reg2(facts: Facts) -> Outcome:
    """Prove that lint, types and coverage of this run keep what was accepted."""
    return _judge(facts)


def _judge(facts: Facts) -> Outcome:
    checks: list[CheckResult] = [gate.checks[0] for gate in facts.gates]
    worst = Status.worst([check.status for check in checks])
    reason = "; ".join(f"{check.id} {check.status}: {check.reason}" for check in checks)
    measured: tuple[Measurement, ...] = tuple(
        item for check in checks for item in check.measurements if item.limit is not None
    )
    return Outcome(worst, reason, measurements=measured)
