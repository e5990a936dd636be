"""Lock of a project for one run, held for as long as the run itself lives.

The lock is an open file that a run may inherit: a server that is killed releases its own copy
only, so no other server starts a second run beside one that is still in progress. Standard
library only: the noxfile acquires one before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class ProjectLock:
    """Lock that ends with the last process that has it open."""

    def __init__(self, number: int) -> None:
        """Keep the descriptor of an open and locked file."""
        self._number = number

    @classmethod
    def try_acquire(cls, path: Path) -> ProjectLock | None:
        """Return the lock, or None while another process holds it."""
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            return None
        except BaseException:
            os.close(number)
            raise
        return cls(number)

    def inheritable_fds(self) -> tuple[int, ...]:
        """Return the file descriptors that a child must inherit to share the lock (`pass_fds`)."""
        return (self._number,)

    def release(self) -> None:
        """Release this process's copy; a second call does nothing."""
        if self._number >= 0:
            # No LOCK_UN: it would free the file under a run that still has it.
            os.close(self._number)
            self._number = -1
