"""Fixtures that build real results and reports, for the core and the renderers."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status
from mlx_preflight.plan import profiles, register
from mlx_preflight.plan.spec import Session
from mlx_preflight.report import document
from mlx_preflight.run import verdict
from mlx_preflight.run.manifest import Manifest

RUN = "run-1"

Results = dict[str, SessionResult]


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """A background job ignores Ctrl-C, and its children would too: here they must not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _result(session: Session, **changes: Any) -> SessionResult:
    checks = tuple(
        CheckResult(check.id, check.title, Status.PASS, Evidence.STATIC, "seen")
        for check in session.checks
    )
    whole = SessionResult(
        id=session.id,
        title=session.title,
        checks=checks,
        run_id=RUN,
        started="2026-01-02T03:04:05+00:00",
        duration_s=1.25,
        profile="embedded",
        model={"requested": "embedded", "fingerprint": "f" * 64, "parameters": 919_680},
        environment={"system": "Linux", "packages": {"mlx": "0.32.4"}},
        git={"commit": "c0ffee", "dirty": False},
    )
    return dataclasses.replace(whole, **changes)


def _run(group: str = "preflight") -> Results:
    return {session.id: _result(session) for session in register.sessions(group)}


def _report(answers: Mapping[str, CheckResult], group: str = "preflight") -> dict[str, Any]:
    found = {
        name: dataclasses.replace(
            item, checks=tuple(answers.get(check.id, check) for check in item.checks)
        )
        for name, item in _run(group).items()
    }
    run = Manifest(RUN, group, tuple(found), "2026-01-02T03:04:05+00:00", "embedded", "embedded")
    judged = verdict.judge(
        register.sessions(group),
        found,
        run_id=RUN,
        group=group,
        profile=profiles.find_profile("embedded"),
    )
    built: dict[str, Any] = json.loads(json.dumps(document.build(judged, found, run)))
    return built


@pytest.fixture(scope="session")
def make_result() -> Callable[..., SessionResult]:
    """Return a function: session, changed fields → a result in which all is PASS."""
    return _result


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Results]:
    """Return a function: group → the results of a run in which all is PASS."""
    return _run


@pytest.fixture(scope="session")
def make_report() -> Callable[..., dict[str, Any]]:
    """Return a function: changed checks by id, group → report document."""
    return _report
