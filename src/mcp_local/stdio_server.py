"""Serve MCP over stdio, and go away when the host died: orphans are the loudest complaint."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from mcp_local.mcp_server import create_server

_LOOK_S = 1.0
_GRACE_S = 15.0
"""How long the server may take to stop its runs before it is ended hard."""


def serve(projects: Sequence[Path]) -> None:
    """Serve until the host closes the pipe or dies.

    Raises:
        UsageError: A project is no folder.
    """
    server = create_server(projects)
    # A host in the background hands on that Ctrl-C is ignored; runs are stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    server.run()


def _watch(parent: int) -> None:
    """End this process once its parent changed: the host was killed and closed nothing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(1)
