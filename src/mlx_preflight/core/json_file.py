"""Atomic writers of text and JSON, and the strict reader of untrusted JSON.

It must import nothing beyond the standard library, as `result` imports it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import stat
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from mlx_preflight.core.errors import ResultError

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
    """Write text atomically beside its target, whose permissions stay as they are.

    Raises:
        ResultError: The folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `mkstemp`, whose files are nobody else's to read, in CI neither.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            if path.exists():
                os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except (OSError, UnicodeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ResultError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
            hint="free disk space or make the folder writable, then run the session again",
        ) from error


def read_json(path: Path, *, limit_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON document that is untrusted: another process or a person wrote it.

    Raises:
        ResultError: Missing, no regular file, too large, not UTF-8, or not JSON.
    """
    try:
        found = path.stat()
        # A pipe would never end, and neither would a link to a device.
        if not stat.S_ISREG(found.st_mode):
            raise ResultError(f"{path}: no regular file")
        if found.st_size > limit_bytes:
            raise ResultError(f"{path}: {found.st_size} bytes, at most {limit_bytes} are read")
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: unreadable: {error}") from error


def parse_json(
    text: str | bytes, *, finite: bool = True, unique: bool = True, max_values: int | None = None
) -> Any:
    """Parse untrusted JSON.

    Args:
        text: Text, or its UTF-8; the caller bounds its size.
        finite: Whether NaN, infinities and numbers beyond a float are refused. The configs of
            transformers hold them (`time_step_limit` of Mamba).
        unique: Whether a key that occurs twice in one object is refused.
        max_values: Most values that it may hold: a parsed one costs up to 30 times its bytes.

    Raises:
        ValueError: No UTF-8, no JSON, nested too deeply, or refused; the message says which.
    """
    if max_values is not None:
        raw = text.encode() if isinstance(text, str) else text
        if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > max_values:
            raise ValueError(f"more than {max_values:,} JSON values")
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_constant=_refuse_constant if finite else None,
            parse_float=_finite if finite else None,
            parse_int=_whole if finite else None,
            object_pairs_hook=_once if unique else None,
        )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 text: byte {error.object[error.start]:#04x} at {error.start}"
        ) from error
    except RecursionError as error:
        raise ValueError("not valid JSON: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two statuses the reader would take the last one in silence.
    members = dict(pairs)
    if len(members) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!a} occurs twice in one object")
    return members


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
