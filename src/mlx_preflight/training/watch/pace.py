"""Seconds per step of a run, from the times at which its rows of progress come.

Validations say themselves how long they took, and are taken out. Batches differ in width:
what is compared is the time per unit of work, which is the predicted time where there is one.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from mlx_preflight.training.watch.forecast import Forecast

FIXED_TOKENS = 128
"""Tokens of a row whose time each step takes beside its own: below so many, steps of published
runs on Apple chips are no longer proportional to them (mlx-lm 0.31 and 0.32, 2026-11-28)."""

WARM_UP = 1
"""Rows of progress whose time is not compared: the first steps compile."""

FIRST, LATEST = 3, 3
"""Rows of progress that are the first steps, and the latest ones."""


@dataclass(frozen=True, slots=True)
class Window:
    """Steps between two rows of progress.

    Attributes:
        steps: How many.
        duration_s: Their time, validations taken out.
        work: Work of them, in units that only compare.
        begin: Steps that were done before them.
    """

    steps: int
    duration_s: float
    work: float
    begin: int = 0


@dataclass(slots=True)
class Pace:
    """Pace of a run.

    Attributes:
        forecast: What is known of it.
        iteration: Steps that are done, by the last row of progress.
        windows: Times between the rows.
        validations_s: Time of each validation.
    """

    forecast: Forecast
    iteration: int = 0
    windows: list[Window] = field(default_factory=list)
    validations_s: list[float] = field(default_factory=list)
    _since_s: float | None = None
    _validated_s: float = 0.0

    def start(self, at_s: float) -> None:
        """Note when the first step was about to start."""
        if self._since_s is None:
            self._since_s = at_s

    def validate(self, duration_s: float) -> None:
        """Take a validation out of the time of the steps around it."""
        self.validations_s.append(duration_s)
        self._validated_s += duration_s

    def report(self, iteration: int, at_s: float) -> None:
        """Note a row of progress."""
        if self._since_s is not None and iteration > self.iteration:
            spent = max(0.0, at_s - self._since_s - self._validated_s)
            work = self._work(self.iteration, iteration)
            self.windows.append(Window(iteration - self.iteration, spent, work, self.iteration))
        self.iteration = max(self.iteration, iteration)
        self._since_s, self._validated_s = at_s, 0.0

    def _work(self, begin: int, end: int) -> float:
        """Return the work of the steps after one iteration up to another."""
        known = self.forecast
        if known.step_s is not None and end <= len(known.step_s):
            return sum(known.step_s[begin:end])
        if known.widths is not None and end <= len(known.widths):
            return float(sum(known.widths[begin:end]) + FIXED_TOKENS * (end - begin))
        return float(end - begin)

    @property
    def compared(self) -> list[Window]:
        """Return the windows that count."""
        return [item for item in self.windows[WARM_UP:] if item.work > 0]

    def unit_s(self, windows: list[Window]) -> float | None:
        """Return the median time of a unit of work; None without any."""
        return statistics.median(w.duration_s / w.work for w in windows) if windows else None

    def step_s(self) -> float | None:
        """Return the median seconds per step of the whole run so far; None before it is known."""
        counted = self.compared or self.windows
        return statistics.median(w.duration_s / w.steps for w in counted) if counted else None

    def latest_step_s(self) -> float | None:
        """Return the seconds per step of the latest steps; None before they are known."""
        latest = self.windows[-LATEST:]
        steps = sum(item.steps for item in latest)
        return sum(item.duration_s for item in latest) / steps if steps else None

    def slowdown(self) -> float | None:
        """Return the time of the latest steps over that of the first; None while there are few."""
        known = self.compared
        if len(known) < FIRST + LATEST:
            return None
        first, latest = self.unit_s(known[:FIRST]), self.unit_s(known[-LATEST:])
        return latest / first if first and latest is not None else None

    def against_prediction(self) -> float | None:
        """Return the time of the latest steps over the predicted one; None without any."""
        if self.forecast.step_s is None or len(self.compared) < LATEST:
            return None
        return self.unit_s(self.compared[-LATEST:])

    def left_s(self) -> float | None:
        """Return the seconds that the rest of the run will take; None before they are known."""
        iters, unit = self.forecast.iters, self.unit_s(self.compared[-LATEST:])
        if iters is None or unit is None:
            return None
        each = sum(self.validations_s) / len(self.validations_s) if self.validations_s else 0.0
        return unit * self._work(self.iteration, iters) + each * self._validations_left(iters)

    def _validations_left(self, iters: int) -> int:
        every = self.forecast.steps_per_eval
        if not every or not self.validations_s:
            return 0
        last = iters % every != 0 and self.iteration < iters
        return iters // every - self.iteration // every + last
