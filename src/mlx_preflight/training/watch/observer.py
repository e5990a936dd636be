"""Looks at a run while it goes on: output, memory and saves, and whether it must be stopped."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time

from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.units import format_bytes
from mlx_preflight.training import budget, contention
from mlx_preflight.training.watch.comparison import Comparison
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.headroom import Headroom
from mlx_preflight.training.watch.notices import Notices, say
from mlx_preflight.training.watch.passthrough import Passage
from mlx_preflight.training.watch.process_tree import ProcessTree
from mlx_preflight.training.watch.save_rule import SaveRule
from mlx_preflight.training.watch.saves import AdapterFiles
from mlx_preflight.training.watch.stopping import Stopping
from mlx_preflight.training.watch.trainer_output import Event, OutputReader, Start, ValReport

HEAR_S, LAST_HEAR_S = 0.05, 5.0
"""Longest time for reading output between two samples, and at the end; what comes faster is only
passed on."""

SLOW_S = {"saves": 0.2, "free": 0.5 if sys.platform == "linux" else 2.0, "swap": 5.0, "disk": 30.0}
"""Seconds between two looks; on macOS free memory and swap are asked of other programs."""


class Observer:
    """What is seen of one run, and the decision to stop it.

    Attributes:
        comparison: What is known of it.
    """

    def __init__(self, forecast: Forecast, notices: Notices, stop_at_bytes: int | None) -> None:
        """Note what is there before the run.

        Args:
            forecast: What was predicted.
            notices: Where things are said.
            stop_at_bytes: Memory at which it is stopped; None never stops it.
        """
        self.comparison = Comparison(forecast, notices)
        self._notices = notices
        self._files = AdapterFiles(forecast.folder)
        self._free = _free_bytes()
        heeds_free = self._free is not None and self._free > budget.MARGIN_BYTES
        self._headroom = Headroom(stop_at_bytes, budget.MARGIN_BYTES, heeds_free)
        if forecast.iters is not None:  # a trainer: it says when its first steps are done
            self._headroom.counts_from_s = float("inf")
        self._rule = SaveRule(forecast, self._headroom)
        self._reader = OutputReader()
        self._looked = dict.fromkeys(SLOW_S, float("-inf"))
        self._ended = False

    def begin(self, tree: ProcessTree, out: Passage, err: Passage) -> None:
        """Take the processes and the output of the run that has started."""
        self._tree, self._out, self._err = tree, out, err
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        self.stopping = Stopping(tree, ignores_interrupt=ignored)

    def pause_s(self) -> float:
        """Return the seconds to the next look."""
        return self._headroom.pause_s()

    def finish(self) -> None:
        """Take in the rest of the output and of the files, once the run has ended."""
        self._ended = True
        self._hear(LAST_HEAR_S)
        for _ in range(2):  # a file counts as complete where two looks find the same
            self._look_at_saves()

    def take_last(self) -> None:
        """Take the file that the trainer writes at its end, where it came to its end."""
        iters = self.comparison.forecast.iters
        if iters is not None and (last := self._files.finished(iters)):
            self.comparison.adapters.append(last)

    def look(self) -> None:
        """Look once, and stop the run if need be."""
        now_s = time.monotonic()
        self._hear()
        held = self._tree.held_bytes()
        if held is None:
            self._notices.warn("unreadable", "not compared: the memory of the run is unreadable")
        elif held:
            self.comparison.hold(held)
            self._look_at_system(now_s)
            self._headroom.add(now_s, held, self._free)
        if self._is_due("saves", now_s):
            self._look_at_saves()
        self._decide(now_s)
        self.stopping.tick(now_s)

    def _is_due(self, name: str, now_s: float) -> bool:
        due = now_s - self._looked[name] >= SLOW_S[name]
        if due:
            self._looked[name] = now_s
        return due

    def _hear(self, limit_s: float = HEAR_S) -> None:
        """Read what was passed on since the last look, for a short time."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s and (piece := self._out.heard.take()):
            at_s, data = piece
            for event in self._reader.feed(data):
                self.comparison.hear(event, at_s)
                self._time(event, at_s)
        while self._err is not self._out and self._err.heard.take():
            pass  # it was passed on, and holds no table
        self._look_at_output()

    def _time(self, event: Event, at_s: float) -> None:
        """Note when the first step starts, and when the first steps are done."""
        if isinstance(event, Start | ValReport) and self._rule.began_s is None:
            self._rule.began_s = at_s
        if self.comparison.progress > 0:
            self._headroom.counts_from_s = min(self._headroom.counts_from_s, at_s)

    def _look_at_output(self) -> None:
        """Say what of the output was not understood, or could not be passed on."""
        if self._reader.unknown:
            self._notices.warn(
                "lines",
                f"line {self._reader.first_unknown:,} of its output is not understood and not "
                "compared, and maybe others",
            )
        if self._out.heard.missed_bytes:
            self._notices.warn("missed", "output came too fast to be read; it was passed on")
        for passage in (self._out, self._err):
            if passage.trouble:
                self._notices.warn("output", passage.trouble)

    def _look_at_system(self, now_s: float) -> None:
        limited = self._headroom.limit_bytes is not None
        system_is_due = self._is_due("swap", now_s)
        if system_is_due or (limited and self._is_due("free", now_s)):
            self._free = _free_bytes()
        if system_is_due:
            found = or_error(contention.swap_use)
            swap = None if isinstance(found, PreflightError) else found
            self.comparison.look(self._free, swap)
        folder = self.comparison.forecast.folder
        if folder is not None and self._is_due("disk", now_s):
            with contextlib.suppress(OSError):  # (the folder is not there yet)
                self.comparison.look_at_disk(shutil.disk_usage(folder).free)

    def _look_at_saves(self) -> None:
        for adapter in self._files.look():
            self.comparison.adapters.append(adapter)
            reason = self._rule.judge(time.monotonic(), adapter.iteration)
            if reason and not self._ended:
                self._stop(f"{reason}; {adapter.path.name} is complete", hurry=False)

    def _decide(self, now_s: float) -> None:
        """Stop the run at once where nothing would be left."""
        room = self._headroom
        if self.stopping.reason:
            if room.left_bytes is not None and room.left_bytes <= 0:
                self.stopping.hurry(now_s)
            return
        expected = self.comparison.explains(room.held_bytes)
        if room.is_exhausted(growth_is_expected=expected):
            limit = format_bytes(room.limit_bytes or 0)
            why = (
                f"only {format_bytes(self._free or 0)} of the system's memory are free"
                if room.by_free
                else f"it holds {format_bytes(room.held_bytes)}, and --stop-at is {limit}"
            )
            self._stop(f"{why}: no time is left for its next save", hurry=True)

    def _stop(self, reason: str, *, hurry: bool) -> None:
        if not self.stopping.reason:
            say(f"stopping the run: {reason}")
            self.stopping.begin(reason, time.monotonic(), hurry=hurry)


def _free_bytes() -> int | None:
    """Return the free memory of the system; None where it cannot be read."""
    try:
        return budget.host_free_bytes()
    except BlockedError:
        return None
