"""Log of run records: one append-only file, from which every index is rebuilt.

One line is one record. A writer holds the file lock, ends a line that a crash left torn,
appends, and flushes to the disk before it returns. Readers take no lock: they read complete
lines only, and what is invalid is skipped, counted and named.
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

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.core.text import one_line
from mlx_preflight.history.record_form import Record, validate

MAX_LINE_BYTES = 4_000_000
"""A longer line is no record: real ones are under 100 kB."""

_WAIT_S = 30.0
_NAMED = 5
"""Bad records that are named; the rest is counted."""


@dataclass(slots=True)
class Damage:
    """Lines that are no valid records.

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
        """Count a line, and name it if it is one of the first."""
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(f"byte {offset}: {one_line(reason, 200)}")


def acquire(lock: FileLock, path: Path, use: str) -> None:
    """Wait for a lock, whose folder is created if need be.

    Args:
        lock: The lock.
        path: File or folder that it guards.
        use: What another process does with it for so long, such as `writing`.

    Raises:
        ResultError: Another process held it all the time, or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(timeout=_WAIT_S, poll_interval=0.02)
    except Timeout as error:
        raise ResultError(f"{path}: another process has been {use} for {_WAIT_S:.0f} s") from error
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror or error}") from error


class RunLog:
    """Append-only file of records."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created before something is written."""
        self.folder = folder
        self.path = folder / "records.jsonl"

    def name(self) -> str:
        """Return a name that no other history has; it is drawn once and kept in the folder.

        Raises:
            ResultError: The folder cannot be written, or the name is damaged.
        """
        path = self.folder / "name"
        with self.writing():
            if not path.exists():
                write_text(path, secrets.token_hex(8))
            found = path.read_text(encoding="utf-8")
        if not re.fullmatch(r"[0-9a-f]{16}", found):
            raise ResultError(f"{path}: not a history's name", hint="delete it")
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the log for writing.

        Raises:
            ResultError: The folder cannot be written, or another writer holds it too long.
        """
        lock = FileLock(self.folder / "records.lock")
        acquire(lock, self.path, "writing")
        try:
            yield
        except OSError as error:
            raise ResultError(f"{self.path}: {error.strerror or error}") from error
        finally:
            lock.release()

    def append(self, found: Iterable[Record]) -> None:
        """Append records and return when the disk has them; call it within `writing`."""
        data = b"".join(encode_line(item) for item in found)
        with self.path.open("ab") as stream:
            if stream.tell() and not self._ends_complete():
                data = b"\n" + data
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def prune(self, gone: Callable[[Record], bool]) -> None:
        """Rewrite the file, atomically, without some records; call it within `writing`.

        What is invalid stays as it is: a later version may know how to read it.
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
        """Yield offset, end and record of each complete line from an offset on; None for a bad one.

        Args:
            begin: Byte offset of a line's start.
            damage: Collects what was skipped.

        Raises:
            ResultError: Something else is there, or it may not be read.
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
                        return  # a writer is writing, or died here; the next one ends the line
                    end += _skip_line(stream)
                    damage.add(offset, f"a line over {MAX_LINE_BYTES} bytes")
                    yield offset, end, None
                elif line.strip():
                    yield offset, end, _believed(line, offset, damage)
                offset = end

    def records(self, damage: Damage) -> Iterator[Record]:
        """Yield every valid record."""
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
            ResultError: Something else is there, or it may not be read.
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

    def _ends_complete(self) -> bool:
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
        ResultError: It holds no valid one.
    """
    try:
        # Not `parse_json`, which takes 15 % longer; `validate` refuses all that it would, but a
        # key that occurs twice.
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"not JSON: {error}") from error
    return validate(document)


def encode_line(record: Record) -> bytes:
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
