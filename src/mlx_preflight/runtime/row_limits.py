"""Limits of what one row and its template may cost, inside the child that renders it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mlx_preflight.core.child_main import peak_rss_bytes

WATCH_S = 0.05

EXIT_CODE = 77
"""Exit code of a child that ended itself because its memory grew out of bounds."""


class RowTimeoutError(Exception):
    """Row whose rendering or tokenization took too long."""


@contextlib.contextmanager
def seconds(limit_s: float) -> Iterator[None]:
    """Raise `RowTimeoutError` in the main thread when the block takes longer."""

    def late(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise RowTimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def memory(limit_bytes: int) -> Iterator[None]:
    """Bound what the block may add to this process's memory.

    Linux refuses the allocation (MemoryError); where the system does not, a thread ends the
    process, which then leaves no answer.
    """
    over = threading.Event()
    base = peak_rss_bytes()

    def watch() -> None:
        while not over.wait(WATCH_S):
            if peak_rss_bytes() - base > limit_bytes:
                os.write(2, b"out of memory: a row or its template\n")
                os._exit(EXIT_CODE)

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    thread = threading.Thread(target=watch, daemon=True)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        top = pages * resource.getpagesize() + limit_bytes
        wanted = top if hard == resource.RLIM_INFINITY else min(top, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    else:
        thread.start()
    try:
        yield
    finally:
        over.set()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
