"""Keep run records in one append-only file: the truth that every index is rebuilt from.

One line is one record. A writer holds the file lock, ends a line that a crash left torn,
appends, and flushes to the disk before it says so. Readers take no lock: they read whole
lines only, and what they cannot believe is skipped, counted and named.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from mcp_local.record_form import Record, clean, validate
from mlx_preflight.errors import ResultError
from mlx_preflight.json_file import write_text

MAX_LINE_BYTES = 4_000_000
"""A longer line is no record: real ones are under 100 kB."""

_WAIT_S = 30.0
_NAMED = 5
"""Bad records that are named; the rest is counted."""


@dataclass(slots=True)
class Damage:
    """Hold what could not be believed.

    Attributes:
        count: Lines that were skipped.
        named: The first few, with the reason.
    """

    count: int = 0
    named: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Return what to say beside an answer that lacks these records; empty if it lacks none."""
        return f"{self.count} damaged records were skipped" if self.count else ""

    def add(self, offset: int, reason: object) -> None:
        """Count one."""
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(f"byte {offset}: {clean(reason, 200)}")


class RunLog:
    """Append records to a file and read them back."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created before something is written."""
        self.folder = folder
        self.path = folder / "records.jsonl"

    def name(self) -> str:
        """Return a name that no other memory has; it is drawn once and kept in the folder.

        Raises:
            ResultError: The folder cannot be written, or the name is damaged.
        """
        path = self.folder / "name"
        with self.writing():
            if not path.exists():
                write_text(path, secrets.token_hex(8))
            found = path.read_text(encoding="utf-8")
        if not re.fullmatch(r"[0-9a-f]{16}", found):
            raise ResultError(f"{path}: not a memory's name", hint="delete it")
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the only right to write.

        Raises:
            ResultError: The folder cannot be written, or another writer holds it too long.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(str(self.folder / "records.lock"), timeout=_WAIT_S):
                yield
        except Timeout as error:
            raise ResultError(
                f"{self.path}: another process has been writing for {_WAIT_S:.0f} s"
            ) from error
        except OSError as error:
            raise ResultError(f"{self.path}: {error.strerror or error}") from error

    def append(self, found: Iterable[Record]) -> None:
        """Append records and return when the disk has them; call it within `writing`."""
        data = b"".join(line_of(item) for item in found)
        with self.path.open("ab") as stream:
            if stream.tell() and not self._ends_whole():
                data = b"\n" + data
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def prune(self, gone: Callable[[Record], bool]) -> None:
        """Write the file anew, atomically, without some records; call it within `writing`.

        What cannot be believed stays as it is: a later version may know how to read it.
        """
        scratch = self.path.with_suffix(".new")
        with scratch.open("wb") as target, self.path.open("rb") as source:
            for begin, end, item in self.read(0, Damage()):
                if item is None or not gone(item):
                    source.seek(begin)
                    _copy(source, target, end - begin)
            target.flush()
            os.fsync(target.fileno())
        os.replace(scratch, self.path)

    def read(self, begin: int, damage: Damage) -> Iterator[tuple[int, int, Record | None]]:
        """Yield offset, end and record of every whole line from an offset on; None for a bad one.

        Args:
            begin: Byte offset of a line's start.
            damage: Collects what was skipped.

        Raises:
            ResultError: Something else lies there, or it may not be read.
        """
        if self.identity() == (0, 0):
            return
        with self.path.open("rb") as stream:
            stream.seek(begin)
            offset = begin
            while line := stream.readline(MAX_LINE_BYTES):
                end = offset + len(line)
                if not line.endswith(b"\n"):
                    if len(line) < MAX_LINE_BYTES:
                        return  # a writer is at work, or died here; the next one ends the line
                    end += _skip_line(stream)
                    damage.add(offset, f"a line over {MAX_LINE_BYTES} bytes")
                    yield offset, end, None
                elif line.strip():
                    yield offset, end, _believed(line, offset, damage)
                offset = end

    def records(self, damage: Damage) -> Iterator[Record]:
        """Yield every record that can be believed."""
        return (item for _, _, item in self.read(0, damage) if item is not None)

    def at(self, offset: int, end: int) -> Record:
        """Return one record again.

        Raises:
            ResultError: It is no longer there.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                return parse(stream.read(end - offset))
        except OSError as error:
            raise ResultError(f"{self.path}: {error}") from error

    def identity(self) -> tuple[int, int]:
        """Return inode and size; another inode or a smaller size is another file, 0, 0 is none.

        Raises:
            ResultError: Something else lies there, or it may not be read.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return 0, 0
        except OSError as error:
            raise ResultError(f"{self.path}: {error.strerror or error}") from error
        if not stat.S_ISREG(found.st_mode):
            raise ResultError(f"{self.path}: no regular file")
        return found.st_ino, found.st_size

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"


def _believed(line: bytes, offset: int, damage: Damage) -> Record | None:
    try:
        return parse(line)
    except ResultError as error:
        damage.add(offset, error)
        return None


def parse(line: bytes | str) -> Record:
    """Return a line's record.

    Raises:
        ResultError: It holds none that can be believed.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"not JSON: {error}") from error
    return validate(document)


def line_of(record: Record) -> bytes:
    """Return a record as the line that is kept of it.

    Raises:
        ResultError: It is too long.
    """
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = text.encode("ascii") + b"\n"
    if len(data) > MAX_LINE_BYTES:
        raise ResultError(f"record {record['run_id']}: over {MAX_LINE_BYTES} bytes")
    return data


def _copy(source: IO[bytes], target: IO[bytes], length: int) -> None:
    """Copy so many bytes without keeping them."""
    while length and (part := source.read(min(length, MAX_LINE_BYTES))):
        target.write(part)
        length -= len(part)


def _skip_line(stream: IO[bytes]) -> int:
    """Read to the end of an endless line without keeping it, and return its length."""
    length = 0
    while line := stream.readline(MAX_LINE_BYTES):
        length += len(line)
        if line.endswith(b"\n"):
            break
    return length
