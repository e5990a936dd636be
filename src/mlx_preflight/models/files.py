"""Files of an untrusted checkpoint folder: confined, regular and bounded.

Nothing here follows a link out of the folder, blocks on a FIFO, or parses JSON whose
size or structure was not bounded first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.core.text import printable

MAX_CONFIG_BYTES = 16_000_000
"""Bound of config.json and its like; the largest published ones stay under 1 MB."""

MAX_INDEX_BYTES = 64_000_000
"""Bound of model.safetensors.index.json; about 100 bytes for each of 600,000 tensors."""

MAX_TOKENIZER_BYTES = 128_000_000
"""Bound of tokenizer.json; vocabularies of 262,144 tokens take about 35 MB."""

MAX_JSON_VALUES = 5_000_000
"""Bound of values in one JSON file: a bound of bytes alone would still let 100 MB of text fill
gigabytes of memory."""

DOWNLOAD_AGAIN = "Download the checkpoint again: hf download REPOSITORY --local-dir FOLDER."
"""The hint where a file is damaged rather than wrong."""


def confined(folder: Path, name: str) -> Path:
    """Return the path of a file that is in the folder itself.

    A link may point into the folder or, where the folder is `snapshots/REVISION` of a
    Hugging Face cache, into that cache's `blobs`.

    Args:
        folder: The checkpoint folder.
        name: A plain file name, as found in an index or a directory listing.

    Returns:
        `folder / name`; the file need not exist.

    Raises:
        CheckpointError: The name has a directory part or leaves the folder by a link.
    """
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\\0"):
        raise CheckpointError(
            f"{folder}: the checkpoint names the file {printable(name)}, which is not a plain file "
            "name inside the folder.",
            hint="Do not load this checkpoint: only a damaged or hostile one names such a path.",
        )
    root = Path(os.path.realpath(folder))
    target = Path(os.path.realpath(folder / name))
    roots = [root]
    if root.parent.name == "snapshots":
        roots.append(root.parent.parent / "blobs")
    if not any(target.is_relative_to(allowed) for allowed in roots):
        raise CheckpointError(
            f"{folder / name}: is a link to {target}, outside the checkpoint folder.",
            hint="Copy the file into the folder, if you trust where the link points.",
        )
    return folder / name


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading if it is a regular one.

    Raises:
        CheckpointError: It is absent, unreadable, a broken link, or no regular file.
    """
    try:
        # Without O_NONBLOCK the open of a FIFO would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if path.is_symlink() and not path.exists():
            raise CheckpointError(
                f"{path}: is a broken link to {path.readlink()}.", hint=DOWNLOAD_AGAIN
            ) from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{path}: cannot be opened: {reason}.", hint="Check the path and its permissions."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(
            f"{path}: is not a regular file.", hint="Replace it by the file of the checkpoint."
        )
    return os.fdopen(descriptor, "rb")


def read_object(path: Path, limit: int, *, unique: bool = True) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        limit: The most bytes it may have.
        unique: Whether a key that occurs twice is refused.

    Raises:
        CheckpointError: It cannot be opened, is too large, or is no such JSON.
    """
    with open_regular(path) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise CheckpointError(
            f"{path}: is larger than the {limit:,} bytes that such a file may have.",
            hint=DOWNLOAD_AGAIN,
        )
    return parse_object(raw, str(path), unique=unique)


def parse_object(raw: bytes, where: str, *, unique: bool) -> dict[str, Any]:
    """Parse one JSON object from untrusted bytes.

    Args:
        raw: UTF-8 text.
        where: The file, for messages.
        unique: Whether a key that occurs twice is refused.

    Raises:
        CheckpointError: No UTF-8, no JSON, no object, too deep, too many values, or a key twice.
    """
    try:
        value = parse_json(raw, finite=False, unique=unique, max_values=MAX_JSON_VALUES)
    except ValueError as error:
        problem = str(error)
    else:
        if isinstance(value, dict):
            return value
        problem = f"a JSON {type(value).__name__} where an object is expected"
    raise CheckpointError(f"{where}: {problem}.", hint=DOWNLOAD_AGAIN)
