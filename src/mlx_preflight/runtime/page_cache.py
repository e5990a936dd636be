"""Weight files in the page cache: dropped, with a report whether that worked.

Only Linux offers it to ordinary users; elsewhere, and on file systems that live in
memory, a cold load cannot be forced and must not be reported as one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_PROBES, _PAGE = 16, 4096


def evict(paths: Iterable[Path]) -> bool:
    """Ask the kernel to forget the files' pages; return whether samples of all are gone."""
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return False
    gone = [_evict_one(path) for path in paths]
    return bool(gone) and all(gone)


def _evict_one(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        # Dirty pages stay, so a file that was just written is flushed first.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        offsets = {size * i // _PROBES // _PAGE * _PAGE for i in range(_PROBES)}
        gone = not any(_resident(descriptor, offset) for offset in offsets)
        # A probe may start read-ahead.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    else:
        return gone
    finally:
        os.close(descriptor)


def _resident(descriptor: int, offset: int) -> bool:
    """Return whether a read would not have to wait for the disk."""
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True
