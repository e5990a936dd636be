"""Sources of facts: results of the same run, and errors that count as facts."""

from __future__ import annotations

from collections import Counter

from mlx_preflight.core.errors import BlockedError, ResultError
from mlx_preflight.core.result import CheckResult, SessionResult, read_result
from mlx_preflight.core.text import printable_list
from mlx_preflight.plan import register
from mlx_preflight.run.context import Context


def read_this_run(context: Context, name: str) -> SessionResult:
    """Return a session's result of this run.

    Raises:
        BlockedError: There is none, it is unreadable, or it is of another run.
        ResultError: It does not answer what the plan asks of the session.
    """
    path = context.results / f"{name}.json"
    hint = f"run it in the same nox call: `nox -s {name} …`"
    if not path.is_file():
        raise BlockedError(f"{name} has no result in run {context.run_id}", hint=hint)
    try:
        found = read_result(path)
    except ResultError as error:
        raise BlockedError(f"{name}: {error}", hint=hint) from error
    if found.run_id != context.run_id:
        raise BlockedError(f"the result of {name} is of run {found.run_id}", hint=hint)
    answered = Counter(check.id for check in found.checks)
    wanted = Counter(check.id for check in register.find_session(name)[0].checks)
    if answered != wanted:
        differ = sorted((answered - wanted) + (wanted - answered))
        raise ResultError(
            f"the result of {name} does not answer what the plan asks: {printable_list(differ)}",
            hint=hint,
        )
    return found


def find_check(result: SessionResult, name: str) -> CheckResult:
    """Return one check of a result.

    Raises:
        BlockedError: The result does not hold it.
    """
    for check in result.checks:
        if check.id == name:
            return check
    raise BlockedError(f"{result.id} holds no {name}")
