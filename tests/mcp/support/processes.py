"""Wait for processes, and see which of them still live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def started(project: Path) -> list[int]:
    """Wait for the slow test of a project; return its process and the child that it started."""
    pids = project / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2, 60, "no test started")
    return [int(pid) for pid in pids.read_text().split()]
