"""Resident memory of a process and all its descendants, without a dependency.

Linux is asked through /proc, macOS through `ps`. The watcher runs on a thread of the
parent and looks seldom enough to take no share of the child's cores worth naming.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

LOOK_S = 0.1 if sys.platform == "linux" else 0.5
"""Seconds between two readings; `ps` is a process of its own."""


class MemorySampler:
    """Sampler of the highest sum of resident bytes of a process tree."""

    def __init__(self, look: Callable[[int], int] | None = None) -> None:
        """Prepare; `look` returns the resident bytes of the tree under a process id."""
        self.peak_bytes = 0
        self._look = look or tree_bytes
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, pid: int) -> None:
        """Start reading; called with the child's process id once it runs."""
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Stop reading and return the peak, bytes."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        return self.peak_bytes

    def _watch(self, pid: int) -> None:
        while not self._ended.is_set():
            self.peak_bytes = max(self.peak_bytes, self._look(pid))
            self._ended.wait(LOOK_S)


def tree_bytes(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; 0 once it is gone."""
    return proc_bytes(pid) if Path("/proc/self/statm").exists() else ps_bytes(pid)


def proc_bytes(pid: int) -> int:
    """Return the resident bytes of a tree, as /proc has them."""
    total = 0
    waiting = [pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            pages = int((folder / "statm").read_text("ascii").split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
            for thread in os.listdir(folder / "task"):  # noqa: PTH208  (hot: no Path per thread)
                text = (folder / "task" / thread / "children").read_text("ascii")
                waiting += [int(child) for child in text.split()]
        except (OSError, IndexError, ValueError):
            continue  # it ended while it was looked at
    return total


def ps_bytes(pid: int) -> int:
    """Return the resident bytes of a tree, as `ps` prints them."""
    done = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, timeout=10, check=False
    )
    return sum_tree(done.stdout, pid)


def sum_tree(listing: str, pid: int) -> int:
    """Return the bytes of a tree in the output of `ps -axo pid=,ppid=,rss=` (kB)."""
    rows = [tuple(map(int, line.split())) for line in listing.splitlines() if line.strip()]
    children: dict[int, list[int]] = {}
    size = {}
    for process, parent, kilobytes in rows:
        children.setdefault(parent, []).append(process)
        size[process] = kilobytes * 1024
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        total += size.get(current, 0)
        waiting += children.get(current, [])
    return total
