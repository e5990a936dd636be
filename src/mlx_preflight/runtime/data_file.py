"""A file of training rows on disk: opened without waiting, measured, and never interpreted.

Standard library only: the process that judges asks it before a child is started.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlx_preflight.core.errors import DataError
from mlx_preflight.core.units import format_bytes

MAX_FILE_BYTES = 1_000_000_000
"""The trainer parses a file as a whole, which takes several times its bytes of memory."""

MAX_ROW_BYTES = 16_000_000
"""Some four million tokens in one row; a model that is trained here knows far fewer."""

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of rows.

    Attributes:
        path: Where it is.
        size_bytes: Its size.
        sha256: Digest of its bytes.
        bad_line: First line that is no UTF-8; 0 without one.
        wide_line: First line with a character beyond ASCII; 0 without one.
    """

    path: Path
    size_bytes: int
    sha256: str
    bad_line: int
    wide_line: int


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file; a pipe, a folder or a device is refused at once.

    Raises:
        DataError: It is none, is too large, or may not be read.
    """
    try:
        # Without the flag, opening a pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise DataError(f"{path}: no regular file")
    if found.st_size > MAX_FILE_BYTES:
        os.close(handle)
        raise DataError(
            f"{path}: {format_bytes(found.st_size)}, at most {format_bytes(MAX_FILE_BYTES)} "
            "are read",
            hint="train on a part of it: the trainer would parse all of it into memory",
        )
    return os.fdopen(handle, "rb")


def scan(path: Path) -> DataFile:
    """Read a file once: its digest, and where it is no UTF-8.

    Raises:
        DataError: It cannot be read, changes meanwhile, or holds a line that is too long.
    """
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    lines, pending, bad_line, wide_line, total = 1, 0, 0, 0, 0
    with open_regular(path) as stream:
        before = os.fstat(stream.fileno())
        while chunk := _read(stream, path):
            digest.update(chunk)
            total += len(chunk)
            if not wide_line and not chunk.isascii():
                wide_line = lines + chunk.count(b"\n", 0, _first_wide(chunk))
            try:
                if not bad_line:
                    decoder.decode(chunk)
            except UnicodeDecodeError as error:
                bad_line = lines + error.object[: error.start].count(b"\n")
            pending = _longest(chunk, pending, path, lines)
            lines += chunk.count(b"\n")
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path}: it changes while it is read", hint="wait until it is written")
    try:
        decoder.decode(b"", final=not bad_line)
    except UnicodeDecodeError:
        bad_line = lines
    return DataFile(path, total, digest.hexdigest(), bad_line, wide_line)


def _read(stream: IO[bytes], path: Path) -> bytes:
    try:
        return stream.read(CHUNK_BYTES)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _first_wide(chunk: bytes) -> int:
    found = re.search(rb"[\x80-\xff]", chunk)
    return found.start() if found else len(chunk)


def _longest(chunk: bytes, pending: int, path: Path, line: int) -> int:
    """Return the bytes of the line that the chunk leaves unfinished."""
    parts = chunk.split(b"\n")
    for number, part in enumerate(parts):
        size = len(part) + (pending if number == 0 else 0)
        if size > MAX_ROW_BYTES:
            raise DataError(
                f"{path}, line {line + number}: a row of over {MAX_ROW_BYTES:,} bytes",
                hint="split the row, or remove it: it would be cut at max_seq_length anyway",
            )
    return len(parts[-1]) + (pending if len(parts) == 1 else 0)
