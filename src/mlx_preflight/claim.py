"""Claim a project for one run, for as long as the run itself lives.

The claim is an open file that a run may inherit: a server that is killed lets go of its own
copy only, so no other server starts a second run beside one that is still at work. Standard
library only: the noxfile takes one before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Claim:
    """Hold a lock that ends with the last process that has it open."""

    def __init__(self, number: int) -> None:
        """Take an open and locked file."""
        self._number = number

    @classmethod
    def take(cls, path: Path) -> Claim | None:
        """Return a claim, or None while somebody else has it."""
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

    def handed_on(self) -> tuple[int, ...]:
        """Return what a child must inherit to share the claim (`pass_fds`)."""
        return (self._number,)

    def release(self) -> None:
        """Let go of this process's copy; a second call does nothing."""
        if self._number >= 0:
            # No LOCK_UN: it would free the file under a run that still has it.
            os.close(self._number)
            self._number = -1
