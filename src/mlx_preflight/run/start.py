"""Start of a run: the project's lock, its manifest, and the removal of old results.

Standard library only: the noxfile starts runs before anything is installed.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.file_lock import ProjectLock
from mlx_preflight.core.result import read_result, remove_result
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import profiles, register
from mlx_preflight.run import manifest, tree
from mlx_preflight.run.context import RUN_ID_VARIABLE
from mlx_preflight.run.summary import remove_reports


@contextmanager
def start_run(
    group: str, project: Path, profile: profiles.Profile, *, training: bool = False
) -> Iterator[list[str]]:
    """Lock a project for one run, write its manifest, and yield the sessions.

    Args:
        group: What is to run.
        project: Root of the project.
        profile: What it is judged with.
        training: Whether a training run is part of the complete plan.

    Raises:
        ResultError: Another run is in progress there, or the folder cannot be written.
    """
    state, run_id = Workspace.of(project).folder, os.environ[RUN_ID_VARIABLE]
    lock = _acquire(state)
    try:
        # Also of a run that never ends: an older verdict must not pass for its own.
        remove_reports(state)
        chosen = [spec.id for spec in register.sessions(group, training=training)]
        _forget(Workspace(state).results, chosen, run_id)
        manifest.write(
            state,
            manifest.Manifest(
                run_id=run_id,
                group=group,
                planned=tuple(chosen),
                started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                profile=profile.name,
                model=profile.model,
                git=tree.state(project),
            ),
        )
        yield chosen
    finally:
        lock.release()


def _acquire(state: Path) -> ProjectLock:
    """Lock a project: two runs at a time would replace each other's results."""
    path = Workspace(state).require_own().lock
    try:
        state.mkdir(exist_ok=True)
        lock = ProjectLock.try_acquire(path)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free disk space or make the folder writable",
        ) from error
    if lock is None:
        raise ResultError(
            f"{_describe(state)} is already in progress in this project",
            hint="wait until it ends, or stop it",
        )
    return lock


def run_in_progress(state: Path) -> str:
    """Return which run of a group holds a project now, or an empty text.

    Raises:
        ResultError: The folder cannot be written.
    """
    path = Workspace(state).lock
    if not path.exists():
        return ""
    try:
        lock = ProjectLock.try_acquire(path)
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error.strerror or error}") from error
    if lock is None:
        return _describe(state)
    lock.release()
    return ""


def _describe(state: Path) -> str:
    last = manifest.read(state)
    return f"run {last.run_id} (started {last.started})" if last else "another run"


def _forget(folder: Path, names: Sequence[str], run_id: str) -> None:
    """Remove what an earlier run left under the same id, such as one that CI gave twice."""
    for name in names:
        try:
            own = read_result(folder / f"{name}.json").run_id == run_id
        except ResultError:
            continue  # nothing, or nothing that could pass for a result
        if own:
            remove_result(folder, name)
