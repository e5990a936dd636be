"""Join the result files of several CI jobs into one run, and have it judged.

Files come from other machines, so none is trusted and none is ignored: what is not exactly
one result of this run is refused by name, and the verdict fails. `verdict.judge` decides.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mlx_preflight import plan, register, summary
from mlx_preflight.errors import ResultError
from mlx_preflight.report.markdown import plain
from mlx_preflight.result import SessionResult, read_result
from mlx_preflight.verdict import Verdict

MAX_FILES = 2_000
"""Files that are looked at; a run leaves one per session."""

MAX_REFUSED = 100
"""Refused files that are named one by one."""

MAX_REASON = 500
"""Characters of one reason; a stranger's file could make it as long as itself."""

MAX_PLANNED = 100_000
"""Characters of the planned list."""

_HINT = "pass the JSON list of session ids that the planning job computed"


@dataclass(slots=True)
class Collected:
    """Hold what the jobs left.

    Attributes:
        results: Session id → its result, or why what is there cannot be used.
        refused: Why files are no results of the run, each with its name.
    """

    results: dict[str, SessionResult | ResultError] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def refuse(self, name: str, why: str) -> str:
        """Note that a file is no result, and return the whole sentence on one line."""
        self.refused.append(plain(f"{plain(name)}: {why}", MAX_REASON))
        return self.refused[-1]


def merge(
    folders: Sequence[Path], planned: str, run_id: str, project: Path
) -> tuple[Verdict, dict[str, Any]]:
    """Judge the run whose result files lie in some folders, and write its reports.

    Args:
        folders: What the jobs left; searched through.
        planned: JSON list of the session ids that had to run.
        run_id: Only files of this run are taken.
        project: Root of the project; the reports go into its `.preflight` folder.

    Raises:
        ResultError: The planned list cannot be used, or the reports cannot be written.
    """
    state = project / ".preflight"
    # Also when this ends with an error: an older report must not pass for this run's.
    summary.remove_reports(state)
    group = planned_group(planned, summary.off_in(project))
    names = tuple(item.id for item in register.sessions(group))
    found = collect(folders, names, run_id)
    own = [
        item
        for item in found.results.values()
        if isinstance(item, SessionResult) and item.run_id == run_id
    ]
    run = dataclasses.replace(summary.run_of(run_id, own), group=group, planned=names)
    return summary.write_reports(state, run, found.results, _shortened(found.refused))


def planned_group(text: str, off: Iterable[str] = ()) -> str:
    """Return the group whose sessions a planned list names.

    A list that is not the whole of a group is refused: a part must not pass for the whole.

    Args:
        text: JSON list of session ids.
        off: Sessions that the project turned off; the list may lack them.

    Raises:
        ResultError: It is no such list, or not that of a group.
    """
    try:
        listed = json.loads(text) if len(text) <= MAX_PLANNED else None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"the planned list is not JSON: {error}", hint=_HINT) from error
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ResultError("the planned list is not a list of session ids", hint=_HINT)
    if not listed:
        raise ResultError("the planned list is empty: no plan is not a passed plan", hint=_HINT)
    if len(set(listed)) != len(listed):
        raise ResultError("the planned list names a session twice", hint=_HINT)
    wanted = set(listed)
    groups = {name: {item.id for item in register.sessions(name)} for name in plan.GROUPS}
    for absent in (set[str](), set(off)):
        for name, members in groups.items():
            if wanted - absent == members - absent and wanted <= members:
                return name
    lacks = ", ".join(sorted(groups["preflight"] - wanted)[:3]) or "nothing"
    more = ", ".join(sorted(wanted - groups["preflight"])[:3]) or "nothing"
    raise ResultError(
        f"the planned list is that of no group; of the whole plan it lacks {lacks}, "
        f"and beyond it names {more}",
        hint=_HINT,
    )


def collect(folders: Sequence[Path], planned: Sequence[str], run_id: str) -> Collected:
    """Read every file below some folders.

    Args:
        folders: Where to look; one that is not there is refused like a file.
        planned: Ids of the sessions that had to run.
        run_id: The only run whose files are taken.
    """
    found, taken = Collected(), dict[str, list[tuple[str, SessionResult]]]()
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
    session: str, answers: Sequence[tuple[str, SessionResult]], found: Collected
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


def _limited(files: Iterable[tuple[str, Path]], found: Collected) -> Iterator[tuple[str, Path]]:
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
