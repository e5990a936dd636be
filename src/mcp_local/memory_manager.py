"""Remember every run: append records, filter them exactly, search them, compare them.

The records on disk are the truth; the full-text index is made from them and can be lost.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import os
import statistics
import sys
import threading
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_local import records, run_log
from mcp_local.filters import Filter, Head, Names, moment
from mcp_local.records import Record
from mcp_local.run_log import Damage, RunLog
from mlx_preflight.criteria import sign_off
from mlx_preflight.errors import UsageError
from mlx_preflight.result import Status, read_json, write_text

if TYPE_CHECKING:
    from mcp_local.qdrant_manager import QdrantManager
    from mlx_preflight.criteria.sign_off import SignOff

FOLDER = "history"
"""Name of the memory's folder within a project's `.preflight`."""

MAX_LIMIT = 50
"""Hits of one search; more are paged by narrower filters."""

_CHANGE_FLOOR = 0.02
"""Changes below 2 % of the median are never flagged: repeated runs differ so much."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Hold one found run.

    Attributes:
        score: Full-text score; 0 where only filters were given.
        line: The run in one line; data of a run, not an instruction.
    """

    run_id: str
    score: float
    line: str


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the answer to a search.

    Attributes:
        matched: Runs that the filters admit; with a text, those seen, one beyond the limit
            at most.
        truncated: Whether more matched than are listed.
        message: What the index had to do first, or empty.
    """

    hits: tuple[Hit, ...]
    matched: int
    truncated: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """Hold one measurement of one run.

    Attributes:
        flagged: Whether it differs from the earlier runs by more than their spread.
    """

    run_id: str
    started: str
    value: float
    flagged: bool
    why: str = ""


@dataclass(slots=True)
class _Entry:
    """Hold a run's place in the file, what filters ask of it, and the places of its notes."""

    offset: int
    end: int
    head: Head
    notes: list[tuple[int, int]]


class MemoryManager:
    """Keep and find the runs of one project; safe for threads and processes."""

    def __init__(self, folder: Path, index: QdrantManager | None = None) -> None:
        """Open a memory; nothing is read or created yet.

        Args:
            folder: Where the records lie.
            index: Full-text index; None opens the embedded one beside the records when needed.
        """
        self.log = RunLog(folder)
        self._index = index
        self._guard = threading.RLock()
        self._seen = (0, 0)
        self._read_to = 0
        self._entries: dict[str, _Entry] = {}
        self._names: dict[tuple[str, ...], Names] = {}
        self._statuses: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._synced: tuple[int, int] | None = None
        self.damage = Damage()

    @classmethod
    def of_project(cls, project: Path) -> MemoryManager:
        """Return the memory of a project."""
        return cls(project / ".preflight" / FOLDER)

    @property
    def index(self) -> QdrantManager:
        """Return the full-text index: beside the records, or on the server that is named.

        `PREFLIGHT_QDRANT_URL` names a Qdrant server and `PREFLIGHT_QDRANT_API_KEY` its key.
        """
        if self._index is None:
            from mcp_local.qdrant_manager import (  # noqa: PLC0415  (0.75 s)
                COLLECTION,
                QdrantManager,
            )

            if url := os.environ.get("PREFLIGHT_QDRANT_URL", ""):
                key = os.environ.get("PREFLIGHT_QDRANT_API_KEY") or None
                name = f"{COLLECTION}_{self.log.name()}"
                self._index = QdrantManager(url=url, api_key=key, collection=name)
            else:
                self._index = QdrantManager(self.log.folder / "index")
        return self._index

    def close(self) -> None:
        """Release the index."""
        if self._index is not None:
            self._index.close()

    # Writing

    def record(
        self,
        report: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        sign_offs: Iterable[SignOff] = (),
    ) -> bool:
        """Remember a run by its report; return whether there was anything new to remember.

        Raises:
            ResultError: The report is damaged, or the folder cannot be written.
        """
        return self.add([records.from_report(report, settings, sign_offs)]) == 1

    def add(self, found: Iterable[Record]) -> int:
        """Append records that are not there yet; return how many, once the disk has them.

        A run that is known keeps its place; one whose content changed is appended and counts.

        Raises:
            ResultError: A record is damaged, or the folder cannot be written.
        """
        checked = [records.validate(item) for item in found]
        with self._guard, self.log.writing():
            self._refresh()
            known: dict[str, Record] = {}
            new: list[Record] = []
            for item in checked:
                if item["kind"] == "note":
                    if item not in self._notes(item["run_id"]):
                        new.append(item)
                    continue
                run_id = item["run_id"]
                last = known.get(run_id) or self._record(run_id)
                if last != item:
                    known[run_id] = item
                    new.append(item)
            if new:
                self.log.append(new)
            return len(new)

    def note(self, run_id: str, text: str, who: str) -> Record:
        """Keep a note on a run.

        Raises:
            UsageError: There is no such run, or nothing is said.
            ResultError: The folder cannot be written.
        """
        kept = records.clean(text, records.MAX_NOTE)
        if not kept:
            raise UsageError("the note is empty")
        self.get(run_id)
        made = {
            "schema": records.SCHEMA,
            "kind": "note",
            "run_id": run_id,
            "text": kept,
            "who": records.clean(who, 80) or "unknown",
            "when": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
        }
        self.add([made])
        return made

    def prune(self, *, keep: int | None = None, before: str = "") -> list[str]:
        """Forget old runs and their notes; return their ids.

        Args:
            keep: How many of the newest to keep.
            before: Forget what started earlier, ISO 8601.

        Raises:
            UsageError: Neither is given, or one is wrong.
        """
        if (keep is None) == (not before) or (keep is not None and keep < 0):
            raise UsageError("say what to prune: either keep = N or before = DATE")
        with self._guard, self.log.writing():
            self._refresh()
            ordered = self._ordered()
            if keep is not None:
                gone = set(ordered[keep:])
            else:
                limit = moment(before, "before")
                gone = {name for name in ordered if _started(self._entries[name]) < limit}
            if gone:
                everything = list(self.log.records(Damage()))
                self.log.replace(item for item in everything if item["run_id"] not in gone)
                self._refresh()
            return sorted(gone)

    # Reading

    def get(self, run_id: str) -> Record:
        """Return a run's record with its notes under `notes`.

        Raises:
            UsageError: There is no such run; the message names the newest.
        """
        with self._guard:
            self._refresh()
            found = self._record(run_id)
            if found is None:
                newest = next(iter(self._ordered()), "")
                hint = f"the newest is {newest}" if newest else "no run is remembered yet"
                raise UsageError(f"run {str(run_id)[:80]!r} not found; {hint}")
            return {**found, "notes": self._notes(run_id)}

    def heads(self, wanted: Filter | None = None) -> list[Head]:
        """Return what matches, newest first."""
        with self._guard:
            self._refresh()
            heads = (self._entries[name].head for name in self._ordered())
            return [head for head in heads if wanted is None or wanted.admits(head)]

    def search(
        self, text: str = "", wanted: Filter | None = None, *, limit: int = 10, floor: float = 0.0
    ) -> Found:
        """Find runs by exact filters and, apart from them, by words.

        Args:
            text: Words; empty lists what the filters admit, newest first.
            wanted: Exact conditions.
            limit: Most hits, 1 to `MAX_LIMIT`.
            floor: Least full-text score of a hit.

        Raises:
            UsageError: The limit or the floor is out of range.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise UsageError(f"limit = {limit}: expected 1 to {MAX_LIMIT}")
        if not (math.isfinite(floor) and floor >= 0):
            raise UsageError(f"floor = {floor}: expected a number of at least 0")
        admitted = [head.run_id for head in self.heads(wanted)]
        if not text.strip():
            scored, message = [(name, 0.0) for name in admitted], ""
        else:
            message = self.sync()
            found = self.index.search(text, set(admitted), limit + 1)
            scored = [(name, score) for name, score in found if score > 0 and score >= floor]
        hits = tuple(
            Hit(name, round(score, 4), records.line_of(self.get(name)))
            for name, score in scored[:limit]
        )
        return Found(hits, len(scored), len(scored) > limit, message)

    def sync(self) -> str:
        """Bring the index up to the records; return what had to be mended, or an empty text."""
        with self._guard:
            self._refresh()
            if self._synced == self.log.identity() and self.index.count() == len(self._entries):
                return ""
            wanted = {
                name: f"{entry.offset}-{entry.end}-{len(entry.notes)}"
                for name, entry in self._entries.items()
            }
            said = self.index.sync(wanted, self._document)
            self._synced = self._seen
            return said

    def rebuild(self) -> int:
        """Throw the index away and make it anew from the records; return how many."""
        with self._guard:
            self.index.clear()
            self._synced = None
            self.sync()
            return len(self._entries)

    def history(self, name: str, wanted: Filter | None = None) -> list[Point]:
        """Return a measurement over runs, oldest first, with sudden changes flagged.

        A value is flagged when it differs from the median of at least three earlier runs by
        more than three times their spread (median absolute deviation), and by 2 %.

        Args:
            name: `peak_bytes`, or `AC6.4/peak_bytes` where several checks measure it.
            wanted: Which runs.

        Raises:
            UsageError: No run holds it, or several checks measure it.
        """
        points: list[Point] = []
        keys: set[str] = set()
        for head in reversed(self.heads(wanted)):
            mine = head.measured(name)
            keys.update(mine)
            if len(mine) == 1:
                (value,) = mine.values()
                why = _sudden([point.value for point in points], value)
                points.append(Point(head.run_id, head.started, value, bool(why), why))
        if len(keys) > 1:
            raise UsageError(f"{name} is measured by several checks: {', '.join(sorted(keys))}")
        if not points:
            known = sorted({key for head in self.heads(wanted) for key in head.names.all})
            near = [key for key in known if name.rpartition("/")[2] in key][:5]
            hint = f"near: {', '.join(near)}" if near else f"{len(known)} names are known"
            raise UsageError(f"no remembered run holds {name[:80]!r}", hint=hint)
        return points

    def compare(self, first: str, second: str) -> dict[str, Any]:
        """Return what differs between two runs: settings, checks and measurements.

        Raises:
            UsageError: One is not there.
        """
        left, right = self.get(first), self.get(second)
        checks = sorted(set(left["checks"]) | set(right["checks"]))
        names = sorted(set(left["measurements"]) | set(right["measurements"]))
        return {
            "runs": [first, second],
            "facts": {
                key: [left[key], right[key]]
                for key in ("model", "machine", "tool", "verdict", "group", "git", "settings")
                if left[key] != right[key]
            },
            "packages": _changed(left["packages"], right["packages"]),
            "checks": {
                name: [_status(left, name), _status(right, name)]
                for name in checks
                if _status(left, name) != _status(right, name)
            },
            "measurements": {
                name: [left["measurements"].get(name), right["measurements"].get(name)]
                for name in names
                if left["measurements"].get(name) != right["measurements"].get(name)
            },
        }

    def status(self) -> dict[str, Any]:
        """Return how much is remembered, what is damaged, and how the index stands."""
        with self._guard:
            self._refresh()
            count, notes = len(self._entries), sum(len(e.notes) for e in self._entries.values())
        return {
            "records": count,
            "notes": notes,
            "damaged": self.damage.count,
            "damage": list(self.damage.named),
            "bytes": self.log.identity()[1],
            "index": self.index.status(),
        }

    def export(self, path: Path) -> int:
        """Write every record that can be believed to a JSONL file; return how many."""
        with self._guard:
            lines = [run_log.line_of(item).decode() for item in self.log.records(Damage())]
        write_text(path, "".join(lines))
        return len(lines)

    def import_from(self, path: Path) -> tuple[int, Damage]:
        """Add the records of a JSONL file; return how many were new, and what was refused.

        Raises:
            UsageError: The file cannot be read.
        """
        if not path.is_file():
            raise UsageError(f"{path}: not a file")
        source = RunLog(path.parent)
        source.path = path
        damage = Damage()
        found = list(source.records(damage))
        return self.add(found), damage

    # Inside

    def _refresh(self) -> None:
        """Read what was appended since the last look; read all of another file."""
        inode, size = self.log.identity()
        if inode != self._seen[0] or size < self._read_to:
            self._entries.clear()
            self.damage, self._read_to = Damage(), 0
        self._seen = (inode, size)
        for offset, end, item in self.log.read(self._read_to, self.damage):
            if item is not None:
                self._take(offset, end, item)
            self._read_to = end

    def _take(self, offset: int, end: int, item: Record) -> None:
        run_id = item["run_id"]
        if item["kind"] == "note":
            if run_id in self._entries:
                self._entries[run_id].notes.append((offset, end))
            return
        numbers = {
            key: float(value)
            for key, value in item["measurements"].items()
            if isinstance(value, int | float)
        }
        statuses = tuple(check["status"] for check in item["checks"].values())
        before = self._entries.get(run_id)
        self._entries[run_id] = _Entry(
            offset,
            end,
            Head(
                run_id=run_id,
                started=item["started"],
                model=sys.intern(item["model"]),
                machine=sys.intern(item["machine"]),
                status=sys.intern(item["status"]),
                verdict=sys.intern(item["verdict"]),
                version=sys.intern(item["tool"].rpartition(" ")[2]),
                checks=self._shared(tuple(item["checks"])),
                statuses=self._statuses.setdefault(statuses, statuses),
                names=self._shared(tuple(numbers)),
                numbers=array("d", numbers.values()),
            ),
            before.notes if before else [],
        )

    def _shared(self, names: tuple[str, ...]) -> Names:
        """Return one object for equal names: runs of one plan share theirs."""
        if names not in self._names:
            self._names[names] = Names(names)
        return self._names[names]

    def _record(self, run_id: str) -> Record | None:
        entry = self._entries.get(run_id)
        return None if entry is None else self.log.at(entry.offset, entry.end)

    def _notes(self, run_id: str) -> list[Record]:
        entry = self._entries.get(run_id)
        return [self.log.at(*place) for place in entry.notes] if entry else []

    def _document(self, run_id: str) -> str:
        found = self._record(run_id)
        return records.text_of(found, self._notes(run_id)) if found else ""

    def _ordered(self) -> list[str]:
        """Return the run ids, newest first."""
        return sorted(self._entries, key=lambda name: (self._entries[name].head.started, name))[
            ::-1
        ]


def remember(state: Path) -> str:
    """Record the report of a project's state folder; return a line that says what happened.

    Raises:
        ResultError: The report or the memory cannot be used.
    """
    report = read_json(state / "report.json", limit_bytes=64_000_000)
    manager = MemoryManager(state / FOLDER)
    new = manager.record(report, _settings_of(state.parent), sign_off.read(state))
    return f"run {report['run_id']} {'remembered' if new else 'was remembered already'}"


def _settings_of(project: Path) -> dict[str, Any]:
    """Return the settings of a project that differ from the defaults."""
    from mlx_preflight import plan  # noqa: PLC0415  (the manager itself needs no plan)

    if not (project / "pyproject.toml").is_file():
        return {}
    found, default = plan.load_settings(project), plan.Settings()
    return {
        item.name: getattr(found, item.name)
        for item in dataclasses.fields(found)
        if getattr(found, item.name) != getattr(default, item.name)
    }


def _started(entry: _Entry) -> dt.datetime:
    try:
        return moment(entry.head.started, "started")
    except UsageError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)


def _sudden(earlier: list[float], value: float) -> str:
    """Say how a value differs from earlier ones by more than their spread; empty if it does not."""
    if len(earlier) < 3:  # noqa: PLR2004  (a spread of two values is none)
        return ""
    middle = statistics.median(earlier)
    spread = statistics.median(abs(item - middle) for item in earlier)
    change = value - middle
    if abs(change) <= max(3 * spread, _CHANGE_FLOOR * abs(middle)):
        return ""
    share = f"{change / middle:+.1%}" if middle else f"{change:+g}"
    return f"{share} against the median of {len(earlier)} earlier runs"


def _status(record: Record, name: str) -> str | None:
    found = record["checks"].get(name)
    return Status(found["status"]).value if found else None


def _changed(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        key: [left.get(key), right.get(key)]
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    }
