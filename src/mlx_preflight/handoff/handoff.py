"""Files that the next agent reads: tester report, task queue, agent log.

They are written by `summary` after the report, in a project with a table
`[tool.mlx-preflight.handoff]` (see docs/configuration.md).

Nothing here decides: the verdict is read from the finished report document. Every file is
changed under one lock, completely or not at all, and only inside the project.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlx_preflight.core import json_file
from mlx_preflight.core.errors import HandoffError, PreflightError
from mlx_preflight.core.workspace import NAME
from mlx_preflight.handoff import agent_log, sprint_queue, tester_report
from mlx_preflight.plan.handoff_settings import Handoff
from mlx_preflight.plan.settings import ProjectSettings

LOCK_TIMEOUT_S = 10.0
"""Writing three small files takes milliseconds; a lock held this long is stuck."""

_PARTIAL = "what passed is a part of the plan or another profile, which cannot end the task"

MAX_BYTES = 8_000_000
"""A queue or log over this size is refused unread."""


def write(
    document: Mapping[str, Any],
    project: Path,
    settings: ProjectSettings,
    *,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> tuple[str, ...]:
    """Write the hand-off files and return one line for each: what was done, or why not.

    Args:
        document: Finished report, as in `report.json`.
        project: Root of the project; no file outside it is touched.
        settings: Settings of that project; without a `handoff` table nothing is written.
        lock_timeout_s: How long another writer is waited for, seconds.

    Raises:
        HandoffError: A file is malformed, locked, read-only or outside the project. Each
            of the three is tried first, and the message names every failure.
    """
    handoff = settings.handoff
    if handoff is None or not handoff.enabled:
        return ()
    lines, failures, hints = [], [], []
    with _locked(project, lock_timeout_s):
        for step in (_write_report, _update_queue, _append_log):
            try:
                lines.append(step(document, project.resolve(), handoff))
            except PreflightError as error:
                failures.append(str(error))
                hints.append(error.hint)
    if failures:
        done = f" ({'; '.join(lines)})" if lines else ""
        hint = next((item for item in hints if item), "fix the file, then run summary again")
        raise HandoffError(f"hand-off incomplete: {'; '.join(failures)}{done}", hint=hint)
    return tuple(lines)


def _write_report(document: Mapping[str, Any], project: Path, handoff: Handoff) -> str:
    if tester_report.task_status(document, handoff) is None:
        return f"{handoff.report_path} left as it is: {_PARTIAL}"
    _replace(_inside(project, handoff.report_path), tester_report.render(document, handoff))
    return f"wrote {handoff.report_path}"


def _update_queue(document: Mapping[str, Any], project: Path, handoff: Handoff) -> str:
    path = _inside(project, handoff.queue)
    members = tester_report.queue_members(document, handoff)
    if members["status"] is None:
        return f"{handoff.queue} left as it is: {_PARTIAL}"
    if not path.exists():
        if not handoff.create:
            return f"not updated: no {handoff.queue}"
        _replace(path, sprint_queue.create(handoff.subtask, members))
        return f"created {handoff.queue}"
    try:
        text, marked = sprint_queue.mark(_read(path), (handoff.subtask, handoff.task), members)
    except HandoffError as error:
        raise HandoffError(f"{handoff.queue} left as it is: {error}", hint=error.hint) from error
    _replace(path, text)
    return f"marked {marked} {members['status']} in {handoff.queue}"


def _append_log(document: Mapping[str, Any], project: Path, handoff: Handoff) -> str:
    path = _inside(project, handoff.log)
    before = _read(path) if path.exists() else ""
    if agent_log.marker(document) in before.splitlines():
        return f"{handoff.log} has this run already"
    _append(path, agent_log.entry(document, handoff, before))
    return f"appended to {handoff.log}"


@contextmanager
def _locked(project: Path, timeout_s: float) -> Iterator[None]:
    # In the state folder, which git ignores: no lock file is beside the user's files.
    path = _inside(project.resolve(), f"{NAME}/handoff.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=timeout_s):
            yield
    except Timeout as error:
        raise HandoffError(
            f"{path}: another process has held this lock for {timeout_s:g} s",
            hint="wait for the other summary to end, then run summary again",
        ) from error
    except OSError as error:
        raise HandoffError(f"cannot lock {path}: {error.strerror or error}") from error


def _inside(project: Path, name: str) -> Path:
    """Return a path in the project, refusing a link that leads out of it or is the file."""
    path = project / name
    if path.is_symlink() or not path.parent.resolve().is_relative_to(project):
        raise HandoffError(
            f"{name}: a symbolic link, or in a folder outside the project",
            hint="name a regular file inside the project in [tool.mlx-preflight.handoff]",
        )
    return path


def _read(path: Path) -> str:
    """Return a file's text with its line ends as they are."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise HandoffError(f"{path.name}: {size} bytes, at most {MAX_BYTES} are read")
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HandoffError(f"{path.name}: unreadable: {error}") from error


def _respect(path: Path) -> None:
    """Refuse an existing file that its owner may not write.

    Replacing and root would both get past a read-only file; that mark is a person's wish.
    """
    if path.exists() and not (path.is_file() and path.stat().st_mode & stat.S_IWUSR):
        raise HandoffError(
            f"{path.name}: read-only, or not a file", hint=f"chmod u+w {path.name}, or move it away"
        )


def _replace(path: Path, text: str) -> None:
    _respect(path)
    json_file.write_text(path, text)


def _append(path: Path, text: str) -> None:
    _respect(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write in append mode: a line that another tool appends meanwhile is not lost.
        with path.open("ab", buffering=0) as stream:
            stream.write(text.encode("utf-8"))
            os.fsync(stream.fileno())
    except OSError as error:
        raise HandoffError(f"cannot append to {path.name}: {error.strerror or error}") from error
