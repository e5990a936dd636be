"""Start a run: keep the project for it, and clear away what could pass for its own.

Standard library only: the noxfile starts runs before anything is installed.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlx_preflight import manifest, plan, register
from mlx_preflight.claim import Claim
from mlx_preflight.errors import ResultError
from mlx_preflight.result import read_result, remove_result
from mlx_preflight.runner import RUN_ID_VARIABLE
from mlx_preflight.summary import remove_reports


@contextmanager
def begun(group: str, project: Path, profile: plan.Profile) -> Iterator[list[str]]:
    """Keep a project for one run, write down what it is to contain, and yield the sessions.

    Raises:
        ResultError: Another run is at work there, or the folder cannot be written.
    """
    state, run_id = project / ".preflight", os.environ[RUN_ID_VARIABLE]
    claim = _claim(state)
    try:
        # Also of a run that never ends: an older verdict must not pass for its own.
        remove_reports(state)
        chosen = [spec.id for spec in register.sessions(group)]
        _forget(state / "results", chosen, run_id)
        manifest.write(
            state,
            manifest.Manifest(
                run_id=run_id,
                group=group,
                planned=tuple(chosen),
                started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                profile=profile.name,
                model=profile.model,
            ),
        )
        yield chosen
    finally:
        claim.release()


def _claim(state: Path) -> Claim:
    """Take a project: two runs at a time would replace each other's results."""
    path = state / "run.lock"
    try:
        state.mkdir(exist_ok=True)
        claim = Claim.take(path)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free disk space or make the folder writable",
        ) from error
    if claim is None:
        raise ResultError(f"{_name(state)} is at work here", hint="wait until it ends, or stop it")
    return claim


def at_work(state: Path) -> str:
    """Return which run of a group keeps a project now, or an empty text.

    Raises:
        ResultError: The folder cannot be written.
    """
    path = state / "run.lock"
    if not path.exists():
        return ""
    try:
        claim = Claim.take(path)
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error.strerror or error}") from error
    if claim is None:
        return _name(state)
    claim.release()
    return ""


def _name(state: Path) -> str:
    last = manifest.read(state)
    return f"run {last.run_id}, started {last.started}," if last else "another run"


def _forget(folder: Path, names: Sequence[str], run_id: str) -> None:
    """Remove what an earlier run left under the same id, such as one that CI gave twice."""
    for name in names:
        try:
            own = read_result(folder / f"{name}.json").run_id == run_id
        except ResultError:
            continue  # nothing, or nothing that could pass for a result
        if own:
            remove_result(folder, name)
