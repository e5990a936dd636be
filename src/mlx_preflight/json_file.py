"""Write text and JSON whole or not at all, and read JSON that a stranger may have written.

It must import nothing beyond the standard library, as `result` imports it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from mlx_preflight.errors import ResultError

MAX_BYTES = 8_000_000
"""A file over this size is refused unread; real results are under 100 kB."""

MAX_DIGITS = 300
"""Digits of an integer; floats end at 308."""


def write_json(path: Path, document: object) -> None:
    """Write a document atomically: sorted keys, no NaN, temporary file and `os.replace`.

    Raises:
        ResultError: The folder is read-only, the disk is full, or the document holds
            something JSON cannot.
    """
    try:
        text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ResultError(f"{path.name}: cannot be written as JSON: {error}") from error
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write text atomically beside its target.

    Raises:
        ResultError: The folder cannot be written or the disk is full.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except (OSError, UnicodeError) as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ResultError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
            hint="free disk space or make the folder writable, then run the session again",
        ) from error


def read_json(path: Path, *, limit_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON document that another process, or a stranger, may have written.

    Raises:
        ResultError: Missing, too large, not UTF-8, or not JSON.
    """
    try:
        size = path.stat().st_size
        if size > limit_bytes:
            raise ResultError(f"{path}: {size} bytes, at most {limit_bytes} are read")
        text = path.read_text(encoding="utf-8")
        return json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
        )
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{path}: unreadable: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _whole(text: str) -> int:
    # A reader that turns a longer one into a float would crash.
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, at most {MAX_DIGITS} are read")
    return int(text)
