"""History of a project's runs: append records, filter, search and compare them.

The records on disk are the truth; the full-text index is made from them and can be lost.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.core.text import one_line
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.history import records, run_log, trends
from mlx_preflight.history.filters import Filter, Head, parse_time, refuse_unknown
from mlx_preflight.history.hits import SearchAnswer, build_hit
from mlx_preflight.history.record_form import MAX_NAME, MAX_NOTE, SCHEMA, Record, validate
from mlx_preflight.history.run_index import RunIndex
from mlx_preflight.history.run_log import Damage, RunLog
from mlx_preflight.history.trends import TrendPoint

if TYPE_CHECKING:
    from mlx_preflight.criteria.sign_off import SignOff
    from mlx_preflight.history.qdrant_manager import QdrantManager

MAX_LIMIT = 50
"""Hits of one search; more are paged by narrower filters."""


class MemoryManager:
    """Recorded runs of one project; safe for threads and processes."""

    def __init__(self, folder: Path, index: QdrantManager | None = None) -> None:
        """Name the folder; nothing is read or created yet.

        Args:
            folder: Folder of the records.
            index: Full-text index; None opens the embedded one beside the records when needed.
        """
        self.log = RunLog(folder)
        self._index = index
        self._guard = threading.RLock()
        self._runs = RunIndex(self.log)
        self._synced: tuple[int, int] | None = None

    @classmethod
    def of_project(cls, project: Path) -> MemoryManager:
        """Return the history of a project."""
        return cls(Workspace.of(project).history)

    @property
    def index(self) -> QdrantManager:
        """Return the full-text index: beside the records, or on the server that is named.

        `PREFLIGHT_QDRANT_URL` names a Qdrant server and `PREFLIGHT_QDRANT_API_KEY` its key.
        """
        if self._index is None:
            from mlx_preflight.history.qdrant_manager import (  # noqa: PLC0415  (it takes 0.75 s, and most commands search nothing)
                COLLECTION,
                QdrantManager,
            )

            if url := os.environ.get("PREFLIGHT_QDRANT_URL", ""):
                key = os.environ.get("PREFLIGHT_QDRANT_API_KEY") or None
                name = f"{COLLECTION}_{self.log.name()}"
                self._index = QdrantManager(url=url, api_key=key, name=name)
            else:
                self._index = QdrantManager(self.log.folder / "index")
        return self._index

    @property
    def damage(self) -> Damage:
        """Return the lines of the log that were refused."""
        return self._runs.damage

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
        """Record a run by its report; return whether there was anything new to record.

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
        checked = [validate(item) for item in found]
        with self._guard, self.log.writing():
            self._runs.refresh()
            known: dict[str, Record] = {}
            new: list[Record] = []
            for item in checked:
                if item["kind"] == "note":
                    if item not in self._runs.notes(item["run_id"]):
                        new.append(item)
                    continue
                run_id = item["run_id"]
                last = known.get(run_id) or self._runs.record(run_id)
                if last != item:
                    known[run_id] = item
                    new.append(item)
            if new:
                self.log.append(new)
            return len(new)

    def note(self, run_id: str, text: str, who: str) -> Record:
        """Record a note on a run.

        Raises:
            UsageError: There is no such run, or nothing is said.
            ResultError: The folder cannot be written.
        """
        kept = one_line(text, MAX_NOTE)
        if not kept:
            raise UsageError("the note is empty")
        self.get(run_id)
        made = {
            "schema": SCHEMA,
            "kind": "note",
            "run_id": run_id,
            "text": kept,
            "who": one_line(who, MAX_NAME) or "unknown",
            "when": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
        }
        self.add([made])
        return made

    def prune(self, *, keep: int | None = None, before: str = "") -> list[str]:
        """Delete old runs and their notes; return their ids.

        Args:
            keep: How many of the newest to keep.
            before: Delete what started earlier, ISO 8601.

        Raises:
            UsageError: Neither is given, or one is wrong.
        """
        if (keep is None) == (not before) or (keep is not None and keep < 0):
            raise UsageError("say what to prune: either keep = N or before = DATE")
        with self._guard, self.log.writing():
            self._runs.refresh()
            ordered = self._runs.ordered()
            if keep is not None:
                gone = set(ordered[keep:])
            else:
                limit = parse_time(before, "before")
                gone = {name for name in ordered if self._runs.entries[name].started < limit}
            if gone:
                self.log.prune(lambda item: item["run_id"] in gone)
                self._runs.refresh()
            return sorted(gone)

    # Reading

    def get(self, run_id: str) -> Record:
        """Return a run's record with its notes under `notes`.

        Raises:
            UsageError: There is no such run; the message names the newest.
        """
        with self._guard:
            self._runs.refresh()
            found = self._runs.record(run_id)
            if found is None:
                newest = next(iter(self._runs.ordered()), "")
                hint = f"the newest is {newest}" if newest else "no run is recorded yet"
                raise UsageError(f"run {str(run_id)[:80]!r} not found; {hint}")
            return {**found, "notes": self._runs.notes(run_id)}

    def heads(self, wanted: Filter | None = None) -> list[Head]:
        """Return what matches, newest first.

        Raises:
            UsageError: A filter names what no recorded run has.
        """
        with self._guard:
            self._runs.refresh()
            heads = [self._runs.entries[name].head for name in self._runs.ordered()]
        found = [head for head in heads if wanted is None or wanted.admits(head)]
        if heads and not found and wanted is not None:
            refuse_unknown(wanted, heads)
        return found

    def search(
        self, text: str = "", wanted: Filter | None = None, *, limit: int = 10, floor: float = 0.0
    ) -> SearchAnswer:
        """Find runs by exact filters and, apart from them, by words.

        Args:
            text: Words; empty lists what the filters admit, newest first.
            wanted: Exact conditions.
            limit: Most hits, 1 to `MAX_LIMIT`.
            floor: Least full-text score of a hit.

        Raises:
            UsageError: The limit or the floor is out of range, or a filter names what no
                recorded run has.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise UsageError(f"limit = {limit}: expected 1 to {MAX_LIMIT}")
        if not (math.isfinite(floor) and floor >= 0):
            raise UsageError(f"floor = {floor}: expected a number of at least 0")
        heads = {head.run_id: head for head in self.heads(wanted)}
        if not text.strip():
            scored, message = [(name, 0.0) for name in heads], ""
        else:
            message = self.sync()
            found = self.index.search(text, heads, limit + 1)
            scored = [(name, score) for name, score in found if score > 0 and score >= floor]
        asked = [item.name for item in wanted.ranges] if wanted else []
        hits = tuple(
            build_hit(self.get(name), score, heads[name], asked) for name, score in scored[:limit]
        )
        empty = "" if self._runs.entries else "no run is recorded yet"
        said = "; ".join(part for part in (message, self.damage.words(), empty) if part)
        return SearchAnswer(hits, len(scored), len(scored) > limit, said)

    def sync(self) -> str:
        """Update the index to the records; return what had to be rebuilt, or an empty text."""
        with self._guard:
            self._runs.refresh()
            known = self._synced == self.log.identity()
            if known and self.index.count() == len(self._runs.entries):
                return ""
            wanted = {
                name: f"{entry.offset}-{entry.end}-{len(entry.notes)}"
                for name, entry in self._runs.entries.items()
            }
            said = self.index.sync(wanted, self._document)
            self._synced = self._runs.seen
            return said

    def rebuild(self) -> int:
        """Delete the index and build it again from the records; return how many."""
        with self._guard:
            self.index.clear()
            self._synced = None
            self.sync()
            return len(self._runs.entries)

    def history(self, name: str, wanted: Filter | None = None) -> list[TrendPoint]:
        """Return a measurement over runs, oldest first, with sudden changes flagged.

        Args:
            name: `step_s`, or `AC6.4/training_peak_bytes` where several checks measure it.
            wanted: Which runs.

        Raises:
            UsageError: No run holds it, or several checks measure it.
        """
        return trends.history(name, self.heads(wanted))

    def compare(self, first: str, second: str) -> dict[str, Any]:
        """Return what differs between two runs: settings, checks and measurements.

        Raises:
            UsageError: One is not there.
        """
        return trends.difference(self.get(first), self.get(second))

    def status(self) -> dict[str, Any]:
        """Return the number of records and notes, the damage, and the state of the index."""
        with self._guard:
            self._runs.refresh()
            entries = self._runs.entries.values()
            count, notes = len(entries), sum(len(entry.notes) for entry in entries)
        return {
            "records": count,
            "notes": notes,
            "damaged": self.damage.count,
            "damage": list(self.damage.named),
            "bytes": self.log.identity()[1],
            "index": self.index.status(),
        }

    def export(self, path: Path) -> tuple[int, Damage]:
        """Write every record to a JSONL file; return how many, and what was refused."""
        damage = Damage()
        with self._guard:
            lines = [run_log.encode_line(item).decode() for item in self.log.records(damage)]
        write_text(path, "".join(lines))
        return len(lines), damage

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

    def _document(self, run_id: str) -> str:
        found = self._runs.record(run_id)
        return records.search_text(found, self._runs.notes(run_id)) if found else ""
