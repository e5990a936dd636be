"""Run one session: gather its facts, ask every check, write one result file.

A check that raises is ERROR, a check without a function is BLOCKED with the
register's reason or ERROR; nothing is left out of the result.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight import environment, result
from mlx_preflight.diagnostic import KEPT
from mlx_preflight.errors import BlockedError, PreflightError, ResultError
from mlx_preflight.isolate import redact
from mlx_preflight.plan import Check, Profile, Session
from mlx_preflight.project_table import Settings
from mlx_preflight.result import (
    CheckResult,
    Evidence,
    Measurement,
    Outcome,
    SessionResult,
    Status,
)
from mlx_preflight.selftest import record

RUN_ID_VARIABLE = "PREFLIGHT_RUN_ID"

BEAT_S = 10.0
"""How often a session that is still at work says so."""


@dataclass(frozen=True, slots=True)
class Context:
    """Hold everything a check may read.

    Attributes:
        project: Root of the project that is judged.
        state: Its `.preflight` folder.
        model: Folder or hub id to load; `embedded` is resolved by the model package.
        evidence: Tier of what is measured on that model.
        budget_bytes: Memory budget.
        note: Shows progress to the user; called with one line.
    """

    project: Path
    state: Path
    run_id: str
    profile: Profile
    settings: Settings
    model: str
    evidence: Evidence
    budget_bytes: int
    note: Callable[[str], None] = print

    @property
    def results(self) -> Path:
        """Return the folder of the result files."""
        return self.state / "results"

    def scratch(self, session_id: str) -> Path:
        """Return a session's own folder for what it produces, created if need be."""
        folder = self.state / "artifacts" / session_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultError(
                f"cannot create {folder}: {error.strerror or error}",
                hint="free disk space or make the folder writable",
            ) from error
        return folder


def new_run_id() -> str:
    """Return the run id of the environment, or a new one: UTC time and four random bytes."""
    given = os.environ.get(RUN_ID_VARIABLE, "")
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    return given or f"{stamp}-{secrets.token_hex(4)}"


def run_session(session: Session, context: Context) -> SessionResult:
    """Run all checks of a session, write the result file, and return the result.

    Raises:
        ResultError: The result file could not be written. The result is lost with it,
            so the caller must exit non-zero.
    """
    # A session that dies must not leave an earlier result of the same run behind.
    result.remove_result(context.results, session.id)
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    begin = time.perf_counter()
    with _heartbeat(session, context):
        checks, model = _answers(session, context)
    finished = SessionResult(
        id=session.id,
        title=session.title,
        checks=checks,
        run_id=context.run_id,
        started=started,
        duration_s=time.perf_counter() - begin,
        profile=context.profile.name,
        model={"requested": context.model, **model},
        environment=environment.capture(),
        git=environment.git(context.project),
    )
    result.write_result(context.results, finished)
    return finished


@contextmanager
def _heartbeat(session: Session, context: Context) -> Iterator[None]:
    """Say that a session is at work, and for how long, until it ends."""
    ended = threading.Event()
    begin = time.perf_counter()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            context.note(f"{session.id}: {time.perf_counter() - begin:.0f} s")

    context.note(f"{session.id}: {session.title}")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _answers(session: Session, context: Context) -> tuple[tuple[CheckResult, ...], dict[str, Any]]:
    asked = [check for check in session.checks if not check.blocked]
    facts: Any = None
    failure: Outcome | None = None
    if asked:
        try:
            module = importlib.import_module(f"mlx_preflight.{session.module}")
            facts = module.gather(session, context)
        # SystemExit too: a tool's `sys.exit(0)` must not end a session green.
        except (Exception, SystemExit) as error:  # noqa: BLE001  (all becomes a visible result)
            failure = _failure(error)
    answers = []
    for check in session.checks:
        if check.blocked:
            outcome = Outcome(Status.BLOCKED, check.blocked, Evidence.STATIC)
        elif failure is not None:
            outcome = failure
        else:
            outcome = _ask(module, check, facts)
        answers.append(_recorded(session, check, outcome, context))
    return tuple(answers), _model(facts)


def _model(facts: Any) -> dict[str, Any]:
    """Return what a session says about its model; that it cannot say so loses no check."""
    try:
        return dict(getattr(facts, "model", None) or {})
    except Exception as error:  # noqa: BLE001  (any failure must become a visible result)
        return {"unknown": f"{type(error).__name__}: {error}"}


def _ask(module: Any, check: Check, facts: Any) -> Outcome:
    function = getattr(module, check.function, None)
    if function is None:
        return Outcome(Status.ERROR, f"no function {check.function} in {module.__name__}")
    try:
        answer = function(facts)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (all becomes a visible result)
        return _failure(error)
    if not isinstance(answer, Outcome):
        return Outcome(Status.ERROR, f"{check.function} returned {type(answer).__name__}")
    if not answer.reason.strip():
        return Outcome(Status.ERROR, f"{check.function} said {answer.status} without a reason")
    return answer


def _failure(error: BaseException) -> Outcome:
    if isinstance(error, BlockedError):
        return Outcome(Status.BLOCKED, str(error) or "blocked, by nothing named", remedy=error.hint)
    if isinstance(error, PreflightError):
        return Outcome(Status.ERROR, str(error) or type(error).__name__, remedy=error.hint)
    return Outcome(Status.ERROR, f"{type(error).__name__}: {error}")


def _recorded(session: Session, check: Check, outcome: Outcome, context: Context) -> CheckResult:
    default = context.evidence if session.runs_model else Evidence.STATIC
    measurements = outcome.measurements
    if session.tag == "gates":
        said = record.said(context.state, session.id, record.tool_of(measurements))
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
