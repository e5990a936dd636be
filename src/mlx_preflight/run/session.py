"""One session's run: gather its facts, ask every check, write one result file.

A check that raises, or that has no function, is ERROR; nothing is left out of the result.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from mlx_preflight.core import environment, result
from mlx_preflight.core.diagnostic import KEPT
from mlx_preflight.core.errors import BlockedError, PreflightError
from mlx_preflight.core.heartbeat import heartbeat
from mlx_preflight.core.result import (
    CheckResult,
    Evidence,
    Measurement,
    Outcome,
    SessionResult,
    Status,
)
from mlx_preflight.core.text import redact
from mlx_preflight.core.units import format_seconds
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Check, Session
from mlx_preflight.run import project_environment, proof_record, tree
from mlx_preflight.run.context import Context

BEAT_S = 10.0
"""Seconds between two progress notes of a running session."""

STACK = {"mlx": "mlx", "mlx_lm": "mlx-lm"}
"""Modules whose versions must fit each other → their distributions."""

STACK_REMEDY = "install versions of mlx and mlx-lm that fit each other"

Checks = Mapping[str, Callable[[Any], Outcome]]
"""Id of the register → function that judges the facts; it measures and reads nothing."""

T = TypeVar("T")


class SessionModule(Protocol):
    """Exports of a session's module.

    One whose plan has a script of its own may also export `confirm(context, finished)`: it runs
    the script on what was measured, and returns check id → the outcome that replaces its own.
    """

    CHECKS: Checks

    def gather(self, session: Session, context: Context) -> Any:
        """Measure and read everything that the checks of the session judge."""


def run_session(session: Session, context: Context) -> SessionResult:
    """Run all checks of a session, write the result file, and return the result.

    Raises:
        ResultError: The result file could not be written, or its folder is a link. The result
            is lost with it, so the caller must exit non-zero.
    """
    Workspace(context.state).require_own()
    # A session that dies must not leave an earlier result of the same run behind.
    result.remove_result(context.results, session.id)
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    begin, before = time.perf_counter(), tree.state(context.project)

    def beat() -> None:
        context.note(f"{session.id}: {format_seconds(time.perf_counter() - begin)}")

    context.note(f"{session.id}: {session.title}")
    with heartbeat(BEAT_S, beat):
        judged, failure = _judged(session, context)
        checks, model = _answers(session, context, failure)
    finished = SessionResult(
        id=session.id,
        title=session.title,
        checks=checks,
        run_id=context.run_id,
        started=started,
        duration_s=time.perf_counter() - begin,
        profile=context.profile.name,
        model={"requested": context.model, **model},
        environment={**environment.capture(), **judged},
        git=tree.after(before, context.project) if register.needs_project(session) else before,
    )
    finished = _confirmed(session, context, finished)
    result.write_result(context.results, finished)
    return finished


def _confirmed(session: Session, context: Context, finished: SessionResult) -> SessionResult:
    """Return a result in which the plan's script has its say, where the session has one."""
    module = _attempt(lambda: importlib.import_module(f"mlx_preflight.{session.module}"))
    confirm = getattr(module, "confirm", None)
    if confirm is None:
        return finished
    said = _attempt(partial(confirm, context, finished))
    if isinstance(said, BaseException):
        said = {check.id: _failure(said) for check in session.checks}
    checks = tuple(
        _recorded(session, check, said[check.id], context) if check.id in said else before
        for check, before in zip(session.checks, finished.checks, strict=True)
    )
    return dataclasses.replace(finished, checks=checks)


def _judged(session: Session, context: Context) -> tuple[dict[str, Any], Outcome | None]:
    """Return what the judged environment holds, and the outcome of one that is not the project's.

    A gate judges nothing in another one. A criterion may be asked in any venv; but what nox
    installed for it must be the project's.
    """
    if not register.judges_environment(session, context.settings):
        return {}, None
    kept: dict[str, Any] = {}
    try:
        found = context.environment
        kept["judged"] = found.to_json(context.project)
        if session.tag == "gates" or context.python != Path(sys.executable):
            project_environment.require_met(context.project, found, tests=session.stack == "tests")
    except PreflightError as error:
        return kept, _failure(error)
    return kept, None


def _answers(
    session: Session, context: Context, failure: Outcome | None
) -> tuple[tuple[CheckResult, ...], dict[str, Any]]:
    facts: Any = None
    checks: Checks = {}
    if failure is None:
        found = _attempt(partial(_gather, session, context))
        if isinstance(found, BaseException):
            failure = _failure(found)
        else:
            checks, facts = found
    answers = tuple(
        _recorded(session, check, failure or _ask(checks, check, facts), context)
        for check in session.checks
    )
    return answers, _model(facts)


def _gather(session: Session, context: Context) -> tuple[Checks, Any]:
    name = f"mlx_preflight.{session.module}"
    module = cast("SessionModule", importlib.import_module(name))
    return module.CHECKS, module.gather(session, context)


def _model(facts: Any) -> dict[str, Any]:
    """Return what a session says about its model; that it cannot say so loses no check."""
    found = _attempt(lambda: dict(getattr(facts, "model", None) or {}))
    if isinstance(found, BaseException):
        return {"unknown": f"{type(found).__name__}: {found}"}
    return found


def _ask(checks: Checks, check: Check, facts: Any) -> Outcome:
    if check.id not in checks:
        return Outcome(Status.ERROR, f"the session's module has no function for {check.id}")
    answer: object = _attempt(partial(checks[check.id], facts))
    if isinstance(answer, BaseException):
        return _failure(answer)
    if not isinstance(answer, Outcome):
        return Outcome(Status.ERROR, f"{check.id} returned {type(answer).__name__}")
    if not answer.reason.strip():
        return Outcome(Status.ERROR, f"{check.id} said {answer.status} without a reason")
    return answer


def _attempt(action: Callable[[], T]) -> T | BaseException:
    """Return an action's value, or whatever it raised."""
    try:
        return action()
    # SystemExit too: a tool's `sys.exit(0)` must not end a session green.
    except (Exception, SystemExit) as error:  # noqa: BLE001  (all becomes a visible result)
        return error


_BLOCKER = re.compile(r"([A-Z]+\d+\.\d+)(?::| fails)")
"""Beginning of a reason that names the check which has to pass first."""


def _failure(error: BaseException) -> Outcome:
    if isinstance(error, BlockedError):
        said = str(error) or "blocked: no reason was given"
        # What helps a check that failed is no help for one that waits for another.
        blocker = _BLOCKER.match(said)
        remedy = error.hint or (f"see {blocker[1]}" if blocker else "")
        return Outcome(Status.BLOCKED, said, remedy=remedy)
    if isinstance(error, PreflightError):
        return Outcome(Status.ERROR, str(error) or type(error).__name__, remedy=error.hint)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] in STACK:
        # A release moved what another one needs: the pair is the fault, and no module of ours.
        installed = environment.capture()["packages"]
        pair = ", ".join(f"{name} {installed.get(name, 'missing')}" for name in STACK.values())
        return Outcome(Status.ERROR, f"{text} ({pair})", remedy=STACK_REMEDY)
    return Outcome(Status.ERROR, text)


def _recorded(session: Session, check: Check, outcome: Outcome, context: Context) -> CheckResult:
    default = context.evidence if session.runs_model else Evidence.STATIC
    measurements = outcome.measurements
    if session.tag == "gates":
        said = proof_record.selftest_note(
            context.state, session.id, proof_record.recorded_tool(measurements)
        )
        measurements = (*measurements, Measurement("self_test", said, "text"))
    remedy = "" if outcome.status is Status.PASS else outcome.remedy or check.remedy
    return CheckResult(
        id=check.id,
        title=check.title,
        status=outcome.status,
        evidence=outcome.evidence or default,
        reason=redact(outcome.reason),
        remedy=redact(remedy),
        measurements=measurements,
        diagnostics=tuple(
            dataclasses.replace(item, message=redact(item.message))
            for item in outcome.diagnostics[:KEPT]
        ),
    )
