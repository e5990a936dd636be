"""End of a process whose parent is gone: what a killed nox started must not work on alone.

The parent is asked for, on every system: Linux's PR_SET_PDEATHSIG fires when the thread ends
that started the child, and nox starts its parallel sessions from threads. Standard library only.
"""

from __future__ import annotations

import os
import signal
import threading
import time

POLL_S = 0.5

BOUND = "PREFLIGHT_BOUND"
"""Set for a process that ends with the one that started it."""


def end_with_parent(*, last: bool = False) -> None:
    """Watch the parent, where this process was started as part of a run, and end after it.

    Args:
        last: Whether the children of this process are ended by itself alone.
    """
    bound = os.environ.pop(BOUND, "") if last else os.environ.get(BOUND)
    if bound:
        parent = os.getppid()
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    # As from a terminal: whoever handles it ends its own children first.
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt_on(*numbers: int) -> None:
    """Let signals end this process as Ctrl-C does; one that it was told to ignore stays so."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
