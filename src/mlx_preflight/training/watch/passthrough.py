"""Passage of the run's output to this process's own: at once, byte for byte, nothing kept back.

A thread per stream does nothing but read and write; what is read is also put aside for the
reader of the trainer's table. Nothing that goes wrong there can hold up the output.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import threading
import time
from collections import deque
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536
MAX_WAITING_BYTES = 8_000_000
"""Output that waits to be understood; what comes on top is passed on and not looked at."""

STDOUT, STDERR = 1, 2
_ENDED = (errno.EIO, errno.EBADF)
"""A terminal whose other side is closed (Linux), and one that was closed here."""


@dataclass(slots=True)
class Heard:
    """Output that was passed on and waits to be understood.

    Attributes:
        pieces: Time in seconds of the monotonic clock, and bytes, in order.
        waiting_bytes: Size of the pieces.
        missed_bytes: Passed on and not looked at, because too much waited.
    """

    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    waiting_bytes: int = 0
    missed_bytes: int = 0

    def add(self, data: bytes) -> None:
        """Put a piece aside."""
        if self.waiting_bytes > MAX_WAITING_BYTES:
            self.missed_bytes += len(data)
            return
        self.pieces.append((time.monotonic(), data))
        self.waiting_bytes += len(data)

    def take(self) -> tuple[float, bytes] | None:
        """Return the oldest piece; None where all were taken."""
        if not self.pieces:
            return None
        at, data = self.pieces.popleft()
        self.waiting_bytes -= len(data)
        return at, data


class Passage:
    """One stream of the run: a terminal where this process writes to one, a pipe elsewhere.

    Attributes:
        child_end: Descriptor that the run writes to.
        heard: What went through.
        trouble: Why the output could not be written any more; empty while it can.
    """

    def __init__(self, target: int) -> None:
        """Open both ends.

        Args:
            target: Descriptor of this process that the output is written to.
        """
        self.heard = Heard()
        self.trouble = ""
        self.is_terminal = os.isatty(target)
        self._target = target
        self._source, self.child_end = _open_terminal() if self.is_terminal else os.pipe()
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self.resize()

    def start(self) -> None:
        """Start to pass on; called once the run has its end.

        The end of a pipe is closed here, so that its end is seen. That of a terminal is kept: some
        systems drop what is unread once nobody has it open.
        """
        if not self.is_terminal:
            self._close_child_end()
        self._thread.start()

    def resize(self) -> None:
        """Give the run's terminal the size of this process's."""
        if self.is_terminal:
            with contextlib.suppress(OSError):  # (a terminal without a size keeps none)
                size = fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._source, termios.TIOCSWINSZ, size)

    def finish(self, timeout_s: float) -> bool:
        """Wait for the rest after the run has ended; return whether the stream ended."""
        if self.is_terminal:
            until = time.monotonic() + timeout_s
            with contextlib.suppress(OSError, ValueError):  # (the thread has closed its end)
                while select.select([self._source], [], [], 0)[0] and time.monotonic() < until:
                    time.sleep(0.01)  # the thread takes it
            self._close_child_end()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def discard(self) -> None:
        """Close both ends of a stream that was never started."""
        self._close_child_end()
        self._close_source()

    def _close_child_end(self) -> None:
        if self.child_end >= 0:
            os.close(self.child_end)
            self.child_end = -1

    def _pass(self) -> None:
        while data := self._read():
            if not self._write(data):
                break
            self.heard.add(data)
        # The run then learns what it would learn without a watch: nobody reads any more.
        self._close_source()

    def _close_source(self) -> None:
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    def _read(self) -> bytes:
        try:
            return os.read(self._source, CHUNK_BYTES)
        except OSError as error:
            if error.errno not in _ENDED:
                self.trouble = f"its output cannot be read: {error.strerror}"
            return b""

    def _write(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._target, rest) :]
            except BlockingIOError:
                # Somebody made the shared descriptor non-blocking.
                select.select([], [self._target], [])
            except OSError as error:
                self.trouble = f"its output cannot be written: {error.strerror}"
                return False
        return True


def _open_terminal() -> tuple[int, int]:
    """Return both ends of a terminal that changes no byte."""
    source, child_end = os.openpty()
    modes = termios.tcgetattr(child_end)
    modes[1] &= ~termios.OPOST  # the real terminal turns a line feed into its two characters
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(child_end, termios.TCSANOW, modes)
    return source, child_end


def open_passages() -> tuple[Passage, Passage]:
    """Return the passages of stdout and stderr, one and the same where both go to one place.

    Two would mix up the order of what is written to a terminal or into one file.
    """
    out = Passage(STDOUT)
    same = os.path.samestat(os.fstat(STDOUT), os.fstat(STDERR))
    return out, out if same else Passage(STDERR)
