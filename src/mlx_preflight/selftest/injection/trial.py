"""One case, planted and judged by its session's own `gather` and checks, in this process."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core import judged_environment
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import CheckResult, Status
from mlx_preflight.core.text import one_line
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run import session as runner
from mlx_preflight.selftest.injection.case import ALL, Case, Sample

CAUGHT, ELSEWHERE, MISSED = "caught", "elsewhere", "missed"
CLEAN, ALARM = "clean", "false alarm"
UNPLANTED, DIED = "not planted", "died"
OUTCOMES = (CAUGHT, ELSEWHERE, MISSED, CLEAN, ALARM, UNPLANTED, DIED)
"""Ends of a case. One that cannot be planted, or whose process dies, is never a success."""

REASON_CHARACTERS = 300

_BARE = re.compile(r"^[A-Za-z_.]*(Error|Exception)\b|Traceback \(most recent|see the reason")
"""Reasons that only repeat an exception, or send the reader in a circle."""


@dataclass(frozen=True)
class Trial:
    """How a case ended.

    Attributes:
        case: Its id.
        outcome: One of `OUTCOMES`.
        red: Check id → status and reason of all that did not pass, the remedy behind an arrow.
        bare: Whether the reason of the named check is a bare exception without a remedy.
        seconds: What it took.
    """

    case: str
    outcome: str
    red: dict[str, str]
    bare: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def run(case: Case, folder: Path, kept: Path) -> Trial:
    """Plant a case in an empty folder, and judge it.

    Args:
        case: The case.
        folder: Its project; it is removed afterwards.
        kept: What all cases share, see `Sample.kept`.
    """
    begin = time.perf_counter()
    folder.mkdir(parents=True)
    sample = Sample(folder, kept)
    try:
        problem = _planted(case, sample)
        checks = problem or _judged(case, sample)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.perf_counter() - begin, 2)
    if isinstance(checks, str):
        return Trial(case.id, UNPLANTED, {case.check or case.session: checks}, False, seconds)
    return Trial(case.id, outcome(case, checks), _red(checks), _bare(case, checks), seconds)


def _planted(case: Case, sample: Sample) -> str:
    """Apply the steps; return why one of them cannot be, or nothing."""
    try:
        for step in (*case.base, *case.steps):
            step(sample)
    # Whatever a builder stumbles over: the case was not planted, so nothing was proved.
    except (PreflightError, OSError, ValueError, KeyError, StopIteration) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _judged(case: Case, sample: Sample) -> dict[str, CheckResult]:
    session, _ = register.find_session(case.session)
    # Kept per process; another case has another environment.
    judged_environment.inspect.cache_clear()
    with _environment(sample.environment), _attributes(case, sample, session):
        finished = runner.run_session(session, sample.context())
    return {check.id: check for check in finished.checks}


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _attributes(case: Case, sample: Sample, session: Session) -> Iterator[None]:
    """Let `gather` return what the sample says, and modules have what it replaces."""
    module = importlib.import_module(f"mlx_preflight.{session.module}")
    with contextlib.ExitStack() as stack:
        for place, name, value in sample.replaced:
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, value)
        if sample.changes or sample.facts is not None or case.shared:
            stack.callback(setattr, module, "gather", module.gather)
            vars(module)["gather"] = _gathering(case, sample, module.gather)
        yield


def _gathering(case: Case, sample: Sample, gather: Any) -> Any:
    def gathered(session: Session, context: Any) -> Any:
        if sample.facts is not None:
            facts = sample.facts()
        elif case.shared or case.answer:
            facts = _of_base(case, sample, gather)
        else:
            facts = gather(session, context)
        for change in sample.changes:
            facts = change(facts)
        return facts

    return gathered


_SHARED: dict[str, Any] = {}
"""Session → facts of its base, gathered once; their folder stays while the process lives."""


def _of_base(case: Case, sample: Sample, gather: Any) -> Any:
    if case.session not in _SHARED:
        folder = sample.folder.with_name(f"{sample.folder.name}-base")
        folder.mkdir()
        base = Sample(folder, sample.kept)
        for step in case.base:
            step(base)
        session, _ = register.find_session(case.session)
        _SHARED[case.session] = gather(session, base.context())
    return _SHARED[case.session]


def outcome(case: Case, checks: dict[str, CheckResult]) -> str:
    """Return how a case ended, from the results of its session."""
    red = {name for name, check in checks.items() if check.status is not Status.PASS}
    if not case.check:
        return ALARM if red or not checks else CLEAN
    if case.check not in checks or checks[case.check].status is Status.PASS:
        return ELSEWHERE if red else MISSED
    allowed = {case.check, *case.along}
    if ALL in case.along:
        allowed = red
    elif case.blocks:
        allowed |= {name for name in red if checks[name].status is Status.BLOCKED}
    exact = checks[case.check].status is case.status and red <= allowed
    return CAUGHT if exact else ELSEWHERE


def _red(checks: dict[str, CheckResult]) -> dict[str, str]:
    return {
        name: one_line(f"{check.status}: {check.reason}", REASON_CHARACTERS)
        + (f" → {one_line(check.remedy, REASON_CHARACTERS)}" if check.remedy else "")
        for name, check in checks.items()
        if check.status is not Status.PASS
    }


def _bare(case: Case, checks: dict[str, CheckResult]) -> bool:
    found = checks.get(case.check)
    if found is None or found.status is Status.PASS:
        return False
    return bool(_BARE.search(found.reason)) and not found.remedy
