"""Folder of what belongs to the user and to no project: true runs, and calibrations.

Standard library only, like all of `core`.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import IO

from mlx_preflight.core.errors import ResultError

VARIABLE = "MLX_PREFLIGHT_DATA"
"""Environment variable that names another folder."""

NAME = "mlx-preflight"


def folder() -> Path:
    """Return the folder, which may not be there yet.

    The variable decides; else `~/Library/Application Support` on macOS, and elsewhere
    `XDG_DATA_HOME`, which counts only where it is absolute (XDG Base Directory 0.8).
    """
    if named := os.environ.get(VARIABLE, ""):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / NAME
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local" / "share") / NAME


def runs_file() -> Path:
    """Return the file of true runs, one JSON document per line."""
    return folder() / "runs.jsonl"


MOST_BYTES = 8_000_000
"""Size from which a file of lines becomes the older one, and a new one begins."""


def older(path: Path) -> Path:
    """Return where the lines go that are too many; what was there before them is lost."""
    return path.with_name(f"{path.stem}.older{path.suffix}")


def append_line(path: Path, document: object, *, most_bytes: int = MOST_BYTES) -> None:
    """Append one line of JSON, which is on the disk when this returns.

    Other writers wait, and a line that a crash left torn is ended first. A file that has grown
    over its limit is kept once as the older one.

    Raises:
        ResultError: The folder cannot be written, or the document is no JSON.
    """
    try:
        text = json.dumps(document, sort_keys=True, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, most_bytes) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            torn = stream.read(1) not in (b"", b"\n")
            stream.write((b"\n" if torn else b"") + text.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, TypeError, ValueError) as error:
        raise ResultError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
            hint=f"make it writable, or name another folder in {VARIABLE}",
        ) from error


def _locked(path: Path, most_bytes: int) -> IO[bytes]:
    """Return the file, locked, of which another writer may make the older one at any time."""
    while True:
        stream = path.open("a+b")
        fcntl.flock(stream, fcntl.LOCK_EX)
        mine = os.fstat(stream.fileno())
        there = path.stat() if path.exists() else None
        if there is not None and there.st_ino == mine.st_ino:
            if mine.st_size <= most_bytes:
                return stream
            os.replace(path, older(path))
        stream.close()
