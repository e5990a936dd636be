"""Prove in a process of its own that one part works: `python -m mcp_local.probe server`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
            "id": "GATE1",
            "session": "gate1-format",
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
    import anyio  # noqa: PLC0415
    from mcp import Client  # noqa: PLC0415

    from mcp_local.mcp_server import create_server  # noqa: PLC0415

    async def ask() -> int:
        with tempfile.TemporaryDirectory() as folder:
            async with Client(create_server([Path(folder)])) as client:
                return len((await client.list_tools()).tools)

    return {"tools": anyio.run(ask)}


def memory() -> dict[str, Any]:
    """Remember a run, read it back from the disk, and find it by a range."""
    from mcp_local.filters import Filter, ranges  # noqa: PLC0415
    from mcp_local.memory_manager import MemoryManager  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        MemoryManager(Path(folder)).record(REPORT)
        again = MemoryManager(Path(folder))
        wanted = Filter(check="GATE1", ranges=ranges(["files_examined >= 3"]))
        return {"records": len(again.heads(wanted)), "verdict": again.get("probe")["verdict"]}


def index() -> dict[str, Any]:
    """Index two texts on disk, open the index anew, and find the right one."""
    from mcp_local.qdrant_manager import QdrantManager  # noqa: PLC0415

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
