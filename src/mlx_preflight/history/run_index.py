"""Index of the run log in memory: what filters compare, and where records and notes are."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.history.filters import Head, Names, parse_time
from mlx_preflight.history.record_form import Record
from mlx_preflight.history.run_log import Damage, RunLog

_TRIES = 3


@dataclass(slots=True)
class Entry:
    """Place of a run in the file, its fields for filters, and the places of its notes."""

    offset: int
    end: int
    head: Head
    notes: list[tuple[int, int]]

    @property
    def started(self) -> dt.datetime:
        """Return when the run started; the earliest time of all when the record does not say."""
        try:
            return parse_time(self.head.started, "started")
        except UsageError:
            return dt.datetime.min.replace(tzinfo=dt.UTC)


class RunIndex:
    """Follower of a log, which reads what was appended since; not safe for threads.

    Attributes:
        entries: Every run by its id, in the order of the log.
        damage: Lines that were refused.
    """

    def __init__(self, log: RunLog) -> None:
        """Keep the log; nothing is read yet."""
        self.log = log
        self.entries: dict[str, Entry] = {}
        self.damage = Damage()
        self.seen = (0, 0)
        self._read_to = 0
        self._names: dict[tuple[str, ...], Names] = {}
        self._statuses: dict[tuple[str, ...], tuple[str, ...]] = {}

    def refresh(self) -> None:
        """Read what was appended since the last look; read all of another file."""
        inode, size = self.log.identity()
        if inode != self.seen[0] or size < self._read_to:
            self.entries.clear()
            self.damage, self._read_to = Damage(), 0
        self.seen = (inode, size)
        for offset, end, item in self.log.read(self._read_to, self.damage):
            if item is not None:
                self._take(offset, end, item)
            self._read_to = end

    def _take(self, offset: int, end: int, item: Record) -> None:
        run_id = item["run_id"]
        if item["kind"] == "note":
            if run_id in self.entries:
                self.entries[run_id].notes.append((offset, end))
            return
        numbers = {
            key: float(value)
            for key, value in item["measurements"].items()
            if isinstance(value, int | float)
        }
        statuses = tuple(check["status"] for check in item["checks"].values())
        before = self.entries.get(run_id)
        self.entries[run_id] = Entry(
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

    def record(self, run_id: str) -> Record | None:
        """Return the last record of a run, or None.

        Raises:
            ResultError: The file was changed again and again while it was read.
        """
        found = self._read(run_id, lambda entry: [(entry.offset, entry.end)])
        return found[0] if found else None

    def notes(self, run_id: str) -> list[Record]:
        """Return the notes on a run, oldest first.

        Raises:
            ResultError: The file was changed again and again while it was read.
        """
        return self._read(run_id, lambda entry: entry.notes)

    def _read(self, run_id: str, places: Callable[[Entry], list[tuple[int, int]]]) -> list[Record]:
        """Read a run's records again; another process may rewrite the file meanwhile."""
        for _ in range(_TRIES):
            entry = self.entries.get(run_id)
            if entry is None:
                return []
            with contextlib.suppress(ResultError):
                found = [self.log.at(*place) for place in places(entry)]
                if all(item["run_id"] == run_id for item in found):
                    return found
            self.refresh()
        raise ResultError(f"{self.log.path}: changed while it was read", hint="ask again")

    def ordered(self) -> list[str]:
        """Return the run ids, newest first."""
        return sorted(self.entries, key=lambda name: (self.entries[name].head.started, name))[::-1]
