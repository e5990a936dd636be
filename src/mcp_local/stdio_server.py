"""MCP over stdio; the server ends when its host died, so that no orphan stays."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from pydantic_core import from_json

from mcp_local.guard import MAX_ERROR, log_plainly
from mcp_local.mcp_server import create_server
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.core.text import truncate

_LOG = logging.getLogger(__name__)

_LOOK_S = 1.0
_GRACE_S = 15.0
"""How long the server may take to stop its runs before it is ended hard."""


def serve(projects: Sequence[Path]) -> None:
    """Serve until the host closes the pipe or dies.

    Raises:
        UsageError: A project is no folder.
    """
    log_plainly()
    server = create_server(projects)
    pipe = _read_carefully()

    def end(_number: int, _frame: FrameType | None) -> None:
        # The SDK's reader cannot be interrupted, but ends with its pipe, and all else with it.
        os.dup2(nothing, pipe)

    nothing = os.open(os.devnull, os.O_WRONLY)
    # Also SIGINT, which a host in the background hands on as ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    server.run()


def readable(line: bytes) -> bytes:
    """Return a message that the SDK can read; else log why it is dropped and return nothing.

    The SDK drops what it cannot read in silence, and the client waits. Half of an emoji
    (a lone surrogate, left where a client cut a text) is such a thing; it becomes `?`.
    """
    if not line.strip():
        return b""
    try:
        from_json(line)
    except ValueError as error:
        return _repaired(line, error)
    return line


def _repaired(line: bytes, why: ValueError) -> bytes:
    try:
        found = parse_json(line.decode("utf-8", "replace"))
        repaired = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        from_json(repaired)
    except ValueError:
        _LOG.warning(
            "a message that cannot be read stays without an answer: %s",
            truncate(str(why), MAX_ERROR),
        )
        return b""
    return repaired


def _read_carefully() -> int:
    """Put a pipe before stdin, so that every message is looked at before the SDK reads it.

    Returns:
        The end of the pipe that is written to.
    """
    source = os.fdopen(os.dup(0), "rb")
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    sink = os.fdopen(writer, "wb")
    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()
    return writer


def _pass_on(source: BinaryIO, sink: BinaryIO) -> None:
    with source, sink:
        for line in source:
            sink.write(readable(line))
            sink.flush()


def _watch(parent: int) -> None:
    """End this process once its parent changed: the host was killed and closed nothing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(1)
