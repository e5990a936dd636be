"""Record a baseline: shrinking is free, growing needs a flag and a reason."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass

from mlx_preflight import register
from mlx_preflight.diagnostic import Diagnostic
from mlx_preflight.errors import ResultError, UsageError
from mlx_preflight.gates import baseline, fingerprint, lint, outcomes, pytest_run, ratchet, types
from mlx_preflight.gates.baseline import Baseline, Growth
from mlx_preflight.gates.ratchet import Ratchet
from mlx_preflight.result import Outcome
from mlx_preflight.runner import Context

GATES = {"lint": "gate2-lint", "types": "gate3-types", "tests": pytest_run.UNIT}
"""Kind of baseline → the gate whose venv has the tools for it."""


@dataclass(frozen=True, slots=True)
class Record:
    """Hold what was written.

    Attributes:
        total: Findings or tests that the file now holds.
        added: How many the file did not hold before.
        removed: How many it held and no longer does.
    """

    path: str
    total: int
    added: int
    removed: int


def record(kind: str, context: Context, *, accept_new: bool = False, reason: str = "") -> Record:
    """Write a project's baseline of one kind.

    Args:
        kind: `lint`, `types` or `tests`.
        context: The project.
        accept_new: Let an existing baseline of findings grow, or one of tests shrink.
        reason: Why; needed with `accept_new`, and kept in the file of findings.

    Raises:
        UsageError: More would be accepted and nobody said why, or this runs in CI.
        ResultError: The tool could not judge the project, so nothing can be accepted.
    """
    baseline.refuse_in_ci()
    if accept_new and not reason.strip():
        raise UsageError("--accept-new needs --reason", hint="say why it is right to accept more")
    if kind == "tests":
        return _tests(context, accept_new=accept_new)
    session, _ = register.find_session(GATES[kind])
    context.note(f"{session.id}: looking at the whole project")
    if kind == "lint":
        ruff = lint.gather(session, context)
        seen, compared = lint.examine(ruff), ruff.ratchet
    else:
        mypy = types.gather(session, context)
        seen, compared = types.examine(mypy), mypy.ratchet
    if isinstance(seen, Outcome):
        raise ResultError(f"nothing can be recorded: {seen.reason}")
    return _findings(compared, context, seen[0], reason.strip() if accept_new else "")


def _findings(compared: Ratchet, context: Context, found: list[Diagnostic], reason: str) -> Record:
    marks = fingerprint.marks(context.project, found)
    old = compared.recorded
    growth: tuple[Growth, ...] = ()
    added, removed = len(marks), 0
    if old is not None:
        changed = fingerprint.compare(old.marks, marks)
        added, removed, growth = len(changed.new), len(changed.fixed), old.growth
        louder = {name: old.suppressions.get(name, 0) for name in compared.suppressions}
        grown = added + sum(
            max(0, number - louder[name]) for name, number in compared.suppressions.items()
        )
        if grown and not reason:
            new = [found[index] for index in changed.new]
            raise UsageError(
                f"{grown} more would be accepted: {ratchet.listed(new) or 'suppressions'}",
                hint="mend them, or add --accept-new --reason '…'",
            )
        if grown:
            today = dt.datetime.now(dt.UTC).date().isoformat()
            growth = (*growth, Growth(today, reason, grown))
    path = baseline.path_of(context.project, context.settings.baselines, compared.kind)
    made = Baseline(compared.binding, Counter(marks), compared.suppressions, growth)
    baseline.write(path, made)
    return Record(str(path), made.total, added, removed)


def _tests(context: Context, *, accept_new: bool) -> Record:
    """Run both test gates and write down which tests passed and which were skipped."""
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
    path = baseline.path_of(context.project, settings.baselines, "tests")
    outcomes.write(path, settings.tests_select, found)
    return Record(str(path), sum(len(names) for names in found.values()), added, lost)
