"""Signs of life of a block of work, shown from a thread beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(period_s: float, beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every `period_s` seconds until the block ends."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(period_s):
            beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
