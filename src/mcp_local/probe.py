"""Probes of one part each, in a process of their own: `python -m mcp_local.probe server`."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_local.memory_manager import MemoryManager
from mlx_preflight.history.filters import Filter, ranges
from mlx_preflight.plan import register

REPORT: dict[str, Any] = {
    "run_id": "probe",
    "started": "2026-01-01T00:00:00+00:00",
    "group": "gates",
    "profile": "embedded",
    "model": {"requested": "embedded"},
    "tool": "mlx-preflight 0",
    "verdict": "needs_adapt",
    "status": "FAIL",
    "holds_for": "nothing",
    "environment": {},
    "git": {},
    "rows": [
        {
            "id": register.GATE1,
            "session": register.GATE1_FORMAT,
            "title": "formatted",
            "status": "FAIL",
            "evidence": "static",
            "reason": "one file would be reformatted",
            "remedy": "run black",
            "required": True,
            "measurements": [{"name": "files_examined", "value": 3}],
        }
    ],
}


def server() -> dict[str, Any]:
    """Create a server, connect a client in memory, and count the tools."""
    from mcp import Client  # noqa: PLC0415  (each probe needs its own part only)

    from mcp_local.mcp_server import create_server  # noqa: PLC0415  (likewise)

    async def ask() -> int:
        with tempfile.TemporaryDirectory() as folder:
            async with Client(create_server([Path(folder)])) as client:
                return len((await client.list_tools()).tools)

    return {"tools": asyncio.run(ask())}


def memory() -> dict[str, Any]:
    """Record a run, read it back from the disk, and find it by a range."""
    with tempfile.TemporaryDirectory() as folder:
        MemoryManager(Path(folder)).record(REPORT)
        again = MemoryManager(Path(folder))
        wanted = Filter(check=register.GATE1, ranges=ranges(["files_examined >= 3"]))
        return {"records": len(again.heads(wanted)), "verdict": again.get("probe")["verdict"]}


def index() -> dict[str, Any]:
    """Index two texts on disk, open the index again, and find the right one."""
    from mcp_local.qdrant_manager import QdrantManager  # noqa: PLC0415  (likewise)

    texts = {"a": "out of memory while training", "b": "one file would be reformatted"}
    with tempfile.TemporaryDirectory() as folder:
        first = QdrantManager(Path(folder) / "index")
        first.sync(dict.fromkeys(texts, "1"), texts.__getitem__)
        first.close()
        second = QdrantManager(Path(folder) / "index")
        found = second.search("OOM in training", texts, 1)
        points = second.count()
        second.close()
        return {"points": points, "found": found[0][0] if found else None}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "server": server,
    "memory": memory,
    "index": index,
}

if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]]()))
