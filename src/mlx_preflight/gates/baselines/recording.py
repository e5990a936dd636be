"""Recording of baselines: shrinking is free, growing needs a flag and a reason."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.result import Outcome
from mlx_preflight.gates import lint, pytest_run, types
from mlx_preflight.gates.baselines import baseline, fingerprint, outcomes, ratchet
from mlx_preflight.gates.baselines.baseline import Baseline, Growth
from mlx_preflight.gates.baselines.ratchet import Ratchet
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run import project_environment
from mlx_preflight.run.context import Context

GATES = {
    "lint": register.GATE2_LINT,
    "types": register.GATE3_TYPES,
    "tests": register.GATE4_UNIT,
}
"""Kind of baseline → the gate whose venv has the tools for it."""


@dataclass(frozen=True, slots=True)
class BaselineChange:
    """Size of a written baseline, and its changes.

    Attributes:
        total: Findings or tests that the file now holds.
        added: How many the file did not hold before.
        removed: How many it held and no longer does.
    """

    path: str
    total: int
    added: int
    removed: int


def record(
    kind: str, context: Context, *, accept_new: bool = False, reason: str = ""
) -> BaselineChange:
    """Write a project's baseline of one kind.

    Args:
        kind: `lint`, `types` or `tests`.
        context: The project.
        accept_new: Let an existing baseline of findings grow, or one of tests shrink.
        reason: Why; needed with `accept_new`, and kept in the file of findings.

    Raises:
        UsageError: More would be accepted and nobody said why, or this runs in CI.
        ResultError: The environment is not the project's, or the tool could not judge it, so
            nothing can be accepted.
    """
    baseline.refuse_in_ci()
    if accept_new and not reason.strip():
        raise UsageError("--accept-new needs --reason", hint="say why it is right to accept more")
    if register.judges_environment(register.find_session(GATES[kind])[0], context.settings):
        project_environment.require_met(context.project, context.environment, tests=True)
    if kind == "tests":
        return _tests(context, accept_new=accept_new)
    session, _ = register.find_session(GATES[kind])
    context.note(f"{session.id}: checking the complete project")
    compared, seen = _compare(kind, session, context)
    if isinstance(seen, Outcome):
        raise ResultError(f"nothing can be recorded: {seen.reason}")
    return _findings(compared, context, reason.strip() if accept_new else "")


def _compare(kind: str, session: Session, context: Context) -> tuple[Ratchet, int | Outcome]:
    if kind == "lint":
        ruff = lint.gather(session, context)
        return ruff.ratchet, lint.examine(ruff)
    mypy = types.gather(session, context)
    return mypy.ratchet, types.examine(mypy)


def _findings(compared: Ratchet, context: Context, reason: str) -> BaselineChange:
    fingerprints, old = compared.fingerprints, compared.recorded
    growth: tuple[Growth, ...] = ()
    added, removed = len(fingerprints), 0
    if old is not None:
        changed = fingerprint.compare(old.fingerprints, fingerprints)
        added, removed, growth = len(changed.new), len(changed.fixed), old.growth
        louder = {name: old.suppressions.get(name, 0) for name in compared.suppressions}
        grown = added + sum(
            max(0, number - louder[name]) for name, number in compared.suppressions.items()
        )
        if grown and not reason:
            new = ratchet.join_diagnostics([compared.found[index] for index in changed.new])
            raise UsageError(
                f"{grown} more would be accepted: {new or 'suppressions'}",
                hint="fix them, or add --accept-new --reason '…'",
            )
        if grown:
            today = dt.datetime.now(dt.UTC).date().isoformat()
            growth = (*growth, Growth(today, reason, grown))
    path = baseline.locate(context.project, context.settings.baselines, compared.kind)
    made = Baseline(compared.binding, Counter(fingerprints), compared.suppressions, growth)
    baseline.write(path, made)
    return BaselineChange(str(path), made.total, added, removed)


def _tests(context: Context, *, accept_new: bool) -> BaselineChange:
    settings = context.settings
    gates = [pytest_run.UNIT]
    if (context.project / settings.acceptance).is_dir():
        gates.append(pytest_run.ACCEPTANCE)
    found, lost, added = {}, 0, 0
    for gate in gates:
        context.note(f"{gate}: running the tests")
        tests = pytest_run.measure(context, gate)
        if tests.failed or not tests.passed:
            raise ResultError(f"nothing can be recorded: {pytest_run.judge(tests).reason}")
        found[gate] = dict(tests.outcomes)
        if tests.recorded is not None:
            missing = tests.recorded.findings(tests.recorded.select, tests.outcomes)
            lost += len(missing)
            added += len(set(tests.outcomes) - set(tests.recorded.outcomes))
            if missing and not accept_new:
                raise UsageError(
                    f"{len(missing)} tests would be given up: {'; '.join(missing[:10])}",
                    hint="restore them, or add --accept-new --reason '…'",
                )
        else:
            added += len(tests.outcomes)
    path = baseline.locate(context.project, settings.baselines, "tests")
    outcomes.write(path, settings.tests_select, found)
    return BaselineChange(str(path), sum(len(names) for names in found.values()), added, lost)
