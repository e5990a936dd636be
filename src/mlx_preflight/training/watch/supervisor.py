"""The run itself: started as it is, its output and its signals passed on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.training.watch import passthrough
from mlx_preflight.training.watch.comparison import Comparison
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.notices import Notices, say
from mlx_preflight.training.watch.observer import Observer
from mlx_preflight.training.watch.process_tree import ProcessTree

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a shell for a command that cannot be started, and for one that is not there."""

SIGNALLED = 128
"""Added to the number of the signal that ended a command, as a shell does."""

REST_S = 5.0
"""Longest wait for output after the run's end, where a process that it left behind may write."""


class CommandError(PreflightError):
    """Command that cannot be started.

    Attributes:
        code: Exit code that a shell would give.
    """

    def __init__(self, message: str, code: int, *, hint: str) -> None:
        """Keep the code beside the message."""
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ending:
    """End of a run, and what was true of it.

    Attributes:
        code: Exit code; above 128 for a signal.
        duration_s: Time that it ran.
        stop_reason: Why the watch stopped it; empty where it did not.
        signals: Signals that the watch sent for that.
        comparison: What was seen.
    """

    code: int
    duration_s: float
    stop_reason: str
    signals: tuple[str, ...]
    comparison: Comparison

    @property
    def finished(self) -> bool:
        """Return whether the run came to its own end."""
        return self.code == 0 and not self.stop_reason


def find_program(words: Sequence[str]) -> str:
    """Return the program of a command.

    Raises:
        CommandError: There is no such program, or it cannot be executed.
    """
    hint = "name the command after `--`: `mlx-preflight watch -- mlx_lm.lora -c x.yaml --train`"
    found = shutil.which(words[0])
    if found is None:
        there = os.sep in words[0] and Path(words[0]).exists()
        why, code = ("is no program", NOT_EXECUTABLE) if there else ("not found", NOT_FOUND)
        raise CommandError(f"{words[0]}: {why}", code, hint=hint)
    return found


class Supervisor:
    """One run under watch."""

    def __init__(self, forecast: Forecast, notices: Notices, stop_at_bytes: int | None) -> None:
        """Note what is there before the run.

        Args:
            forecast: What was predicted.
            notices: Where things are said.
            stop_at_bytes: Memory at which it is stopped; None never stops it.
        """
        self._observer = Observer(forecast, notices, stop_at_bytes)
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._own_group = False
        self._status = 0

    def run(self, words: Sequence[str]) -> Ending:
        """Run a command to its end.

        Raises:
            CommandError: It cannot be started.
        """
        find_program(words)
        self._observer.comparison.start()
        self._out, self._err = passthrough.open_passages()
        began_s = time.monotonic()
        with self._signals():
            self._start(words)
            watched = True
            while not self._ended.wait(self._observer.pause_s()):
                watched = watched and self._guarded(self._observer.look)
            self._finish()
        return Ending(
            code=self._status if self._status >= 0 else SIGNALLED - self._status,
            duration_s=time.monotonic() - began_s,
            stop_reason=self._observer.stopping.reason,
            signals=tuple(self._observer.stopping.sent),
            comparison=self._observer.comparison,
        )

    # Start and end

    def _start(self, words: Sequence[str]) -> None:
        passages = {self._out, self._err}
        try:
            # In the foreground of a terminal the run shares this process's group, so that Ctrl-C
            # reaches it, and once; elsewhere it has its own, and signals are handed on.
            self._own_group = not _in_foreground()
            process = subprocess.Popen(
                list(words),
                stdout=self._out.child_end,
                stderr=self._err.child_end,
                process_group=0 if self._own_group else None,
            )
        except OSError as error:
            for passage in passages:
                passage.discard()
            hint = "run it without the watch to see why"
            raise CommandError(
                f"{words[0]}: {error.strerror}", NOT_EXECUTABLE, hint=hint
            ) from error
        for passage in passages:
            passage.start()
        self._process = process
        self._observer.begin(ProcessTree(process.pid), self._out, self._err)
        # Last: until somebody waits for it, its id stays its own.
        threading.Thread(target=self._await_end, args=(process,), daemon=True).start()

    def _await_end(self, process: subprocess.Popen[bytes]) -> None:
        self._status = process.wait()
        self._ended.set()

    def _finish(self) -> None:
        """Take in the rest of the output and of the files."""
        until_s = time.monotonic() + REST_S
        closed = [
            passage.finish(max(0.1, until_s - time.monotonic()))
            for passage in (self._out, self._err)
        ]
        if not all(closed):
            say("a process that the run left behind still has its output open")
        self._guarded(self._observer.finish)
        if self._status == 0:
            self._guarded(self._observer.take_last)

    def _guarded(self, action: Callable[[], None]) -> bool:
        """Return whether an action succeeded: trouble of the watch is no trouble of the run."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  (whatever it is, the run goes on)
            say(f"the watch itself failed ({type(error).__name__}: {error}); the run goes on")
            return False
        return True

    # Signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Hand signals on to the run; one that is ignored here stays ignored by both."""
        handlers = {
            signal.SIGINT: self._interrupted,
            signal.SIGTERM: self._handed_on,
            signal.SIGHUP: self._handed_on,
            signal.SIGWINCH: self._resized,
        }
        before = {
            number: signal.signal(number, handler)
            for number, handler in handlers.items()
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._process is not None and self._own_group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGINT)

    def _handed_on(self, number: int, _frame: FrameType | None) -> None:
        if self._process is not None and not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process.pid, number)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._out.resize()
        self._err.resize()


def _in_foreground() -> bool:
    """Return whether this process is in the foreground of its terminal, which signals its group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
