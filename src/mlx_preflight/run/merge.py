"""One run from the result files of several CI jobs, judged.

Files come from other machines, so none is trusted and none is ignored: what is not exactly
one result of this run is refused by name, and the verdict fails. `verdict.judge` decides.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.core.result import SessionResult, read_result
from mlx_preflight.core.text import one_line
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import register, spec
from mlx_preflight.run import summary, tree
from mlx_preflight.run.summary import JudgedRun

MAX_FILES = 2_000
"""Files that are looked at; a run leaves one per session."""

MAX_REFUSED = 100
"""Refused files that are named one by one."""

MAX_REASON = 500
"""Characters of one reason; an untrusted file could make it as long as itself."""

MAX_PLANNED = 100_000
"""Characters of the planned list."""

_HINT = "pass the JSON list of session ids that the planning job computed"


@dataclass(slots=True)
class CollectedResults:
    """Result files of all jobs.

    Attributes:
        results: Session id → its result, or why what is there cannot be used.
        refused: Why files are no results of the run, each with its name.
    """

    results: dict[str, SessionResult | ResultError] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def refuse(self, name: str, why: str) -> str:
        """Record that a file is no result, and return the complete sentence on one line."""
        self.refused.append(one_line(f"{one_line(name)}: {why}", MAX_REASON))
        return self.refused[-1]


def merge(folders: Sequence[Path], planned: str, run_id: str, project: Path) -> JudgedRun:
    """Judge the run whose result files are in some folders; earlier reports are removed first.

    Args:
        folders: What the jobs left; searched through.
        planned: JSON list of the session ids that had to run.
        run_id: Only files of this run are taken.
        project: Root of the project.

    Raises:
        ResultError: The planned list cannot be used.
    """
    # Also when this ends with an error: an older report must not pass for this run's.
    summary.remove_reports(Workspace.of(project).require_own().folder)
    off = summary.disabled_sessions(project)
    training = summary.trains(project)
    group = planned_group(planned, off, training=training)
    names = tuple(item.id for item in register.sessions(group, training=training))
    found = collect(folders, names, run_id)
    own = [
        item
        for item in found.results.values()
        if isinstance(item, SessionResult) and item.run_id == run_id
    ]
    run = dataclasses.replace(summary.run_without_manifest(run_id, own), group=group, planned=names)
    # Of the judge's own tree only the commit counts: the jobs' files lie in it.
    judged, here = summary.judged_trees(run, found.results), tree.state(project)
    verdict = summary.judge(
        run,
        found.results,
        off=off,
        refused=_shortened(found.refused),
        moved_on=tree.difference(judged, here, commits_only=True),
    )
    return JudgedRun(run, found.results, verdict)


def planned_group(text: str, off: Iterable[str] = (), *, training: bool = False) -> str:
    """Return the group whose sessions a planned list names.

    An incomplete list of a group is refused: a part must not pass for the group.

    Args:
        text: JSON list of session ids.
        off: Sessions that the project turned off; the list may lack them.
        training: Whether a training run is part of the complete plan.

    Raises:
        ResultError: It is no such list, or not that of a group.
    """
    try:
        listed = parse_json(text) if len(text) <= MAX_PLANNED else None
    except ValueError as error:
        raise ResultError(f"the planned list: {error}", hint=_HINT) from error
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ResultError("the planned list is not a list of session ids", hint=_HINT)
    if not listed:
        raise ResultError("the planned list is empty: no plan is not a passed plan", hint=_HINT)
    if len(set(listed)) != len(listed):
        raise ResultError("the planned list names a session twice", hint=_HINT)
    wanted = set(listed)
    groups = {
        name: {item.id for item in register.sessions(name, training=training)}
        for name in spec.GROUPS
    }
    for absent in (set[str](), set(off)):
        for name, members in groups.items():
            if wanted - absent == members - absent and wanted <= members:
                return name
    lacks = ", ".join(sorted(groups["preflight"] - wanted)[:3]) or "nothing"
    more = ", ".join(sorted(wanted - groups["preflight"])[:3]) or "nothing"
    raise ResultError(
        f"the planned list is that of no group; of the complete plan it lacks {lacks}, "
        f"and beyond it names {more}",
        hint=_HINT,
    )


def collect(folders: Sequence[Path], planned: Sequence[str], run_id: str) -> CollectedResults:
    """Read every file below some folders.

    Args:
        folders: Where to look; one that is not there is refused like a file.
        planned: Ids of the sessions that had to run.
        run_id: The only run whose files are taken.
    """
    found, taken = CollectedResults(), dict[str, list[tuple[str, SessionResult]]]()
    for name, path in _limited(_files(folders), found):
        try:
            result = _read(path, planned)
        except ResultError as error:
            reason = found.refuse(name, str(error).removeprefix(f"{path}: "))
            if path.stem in planned:
                found.results[path.stem] = ResultError(reason)
            continue
        if result.run_id == run_id:
            taken.setdefault(result.id, []).append((name, result))
            continue
        found.refuse(name, f"of run {result.run_id}, not of {run_id}")
        found.results[result.id] = result
    for session, answers in taken.items():
        found.results[session] = _one(session, answers, found)
    return found


def _one(
    session: str, answers: Sequence[tuple[str, SessionResult]], found: CollectedResults
) -> SessionResult | ResultError:
    """Return what several files of a session say, where they say the same."""
    first = answers[0][1]
    if all(result == first for _, result in answers):
        return first
    names = [name for name, _ in answers]
    return ResultError(
        found.refuse(" and ".join(names[:3]), f"{len(names)} files of {session} differ")
    )


def _read(path: Path, planned: Sequence[str]) -> SessionResult:
    """Read one file.

    Raises:
        ResultError: It is not the result of a planned session.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise ResultError(f"{error.strerror or error}") from error
    # A link could name any file of this machine, and a pipe would never end.
    if not stat.S_ISREG(mode):
        raise ResultError("not a regular file")
    if path.suffix != ".json":
        raise ResultError("not a result file: its name does not end in .json")
    result = read_result(path)
    if result.id not in planned:
        raise ResultError("the planned list does not name its session")
    return result


def _files(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield everything below some folders that is no folder, in a fixed order, with a name."""
    for folder in folders:
        if not folder.is_dir():
            yield str(folder), folder
            continue
        for where, inside, names in os.walk(folder, onerror=_stop):
            inside.sort()
            links = [name for name in inside if Path(where, name).is_symlink()]
            for name in sorted([*names, *links]):
                path = Path(where, name)
                yield str(folder.name / path.relative_to(folder)), path


def _limited(
    files: Iterable[tuple[str, Path]], found: CollectedResults
) -> Iterator[tuple[str, Path]]:
    """Yield files until there are too many, or a folder cannot be read."""
    try:
        for number, item in enumerate(files):
            if number == MAX_FILES:
                found.refuse(item[0], f"not read, and none after it: over {MAX_FILES} files")
                return
            yield item
    except OSError as error:
        found.refuse(str(error.filename), f"not read, and none after it: {error.strerror}")


def _stop(error: OSError) -> NoReturn:
    raise error


def _shortened(refused: Sequence[str]) -> list[str]:
    more = len(refused) - MAX_REFUSED
    return [*refused[:MAX_REFUSED], *([f"{more} more files are refused"] if more > 0 else [])]
