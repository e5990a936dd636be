"""Memory of the run's processes, and the signals that stop them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import psutil

REFRESH_S = 5.0
"""Longest time between two searches for new processes, which look at all of the system."""

REFRESH_SHARE = 0.2
"""Time between two searches as a share of the run's age: launchers start processes early."""

_FOOTPRINT = 9
"""Place of ri_phys_footprint among the 64-bit words of rusage_info_v0 (macOS sys/resource.h):
16 bytes of uuid, then user, system, two wakeups, pageins, wired, resident, footprint."""


class ProcessTree:
    """A process and all that it started."""

    def __init__(self, pid: int) -> None:
        """Begin with the first process."""
        self._pid = pid
        self._group = os.getpgid(pid)
        self._processes: list[psutil.Process] = []
        self._began_s = self._refreshed_s = time.monotonic()

    def held_bytes(self) -> int | None:
        """Return the memory of all processes; None where none may be read, 0 once they ended.

        Resident bytes on Linux; on macOS the footprint, which Metal's buffers are part of.
        """
        self._refresh()
        sizes = [size for process in self._processes if (size := _size(process)) is not None]
        return sum(sizes) if sizes or not self._processes else None

    def interrupt(self) -> None:
        """Send what Ctrl-C sends: SIGINT to each process of the run's group, once."""
        self._refresh(now=True)
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(process.pid) == self._group:
                    os.kill(process.pid, signal.SIGINT)

    def signal(self, number: int) -> None:
        """Send a signal to the first process alone, as `kill` would."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, number)

    def kill(self) -> None:
        """Kill every process."""
        self._refresh(now=True)
        for process in self._processes:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _refresh(self, *, now: bool = False) -> None:
        at = time.monotonic()
        pause = min(REFRESH_S, REFRESH_SHARE * (at - self._began_s))
        if self._processes and not now and at - self._refreshed_s < pause:
            return
        self._refreshed_s = at
        with contextlib.suppress(psutil.Error):  # (it ended: the last list is kept)
            first = psutil.Process(self._pid)
            self._processes = [first, *first.children(recursive=True)]


def _size(process: psutil.Process) -> int | None:
    """Return the memory of a process; 0 once it has ended, None where it may not be read."""
    try:
        if sys.platform == "darwin":
            return _footprint(process.pid)
        return int(process.memory_info().rss)
    except psutil.AccessDenied:
        return None
    except psutil.Error:
        return 0


def _footprint(pid: int) -> int | None:
    """Return the physical footprint of a process, as macOS's proc_pid_rusage states it."""
    words = (ctypes.c_uint64 * 12)()
    library = ctypes.CDLL(None)
    refused = library.proc_pid_rusage(pid, 0, ctypes.byref(words))
    return None if refused else int(words[_FOOTPRINT])
