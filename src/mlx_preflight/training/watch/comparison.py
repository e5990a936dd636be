"""Comparison of a run with what was predicted, and of its latest steps with its first."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field

from mlx_preflight.core.units import format_bytes, format_interval, format_number, format_seconds
from mlx_preflight.training.budget import MARGIN_BYTES
from mlx_preflight.training.contention import SwapUse
from mlx_preflight.training.watch import trainer_output as output
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.notices import Notices
from mlx_preflight.training.watch.pace import Pace
from mlx_preflight.training.watch.saves import Adapter

SLOWER = 1.5
"""Latest steps over first ones, or over the prediction, from which it is said."""

MOVED = 0.25
"""Share of the whole duration by which the finish moves before it is said again."""

SWAPPED_BYTES = 100_000_000
"""Written to swap since the run started: the pages of a program that was left idle are less."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


@dataclass(slots=True)
class Comparison:
    """What is known of a run while it goes on.

    Attributes:
        forecast: What was predicted.
        notices: Where it is said.
        pace: Seconds per step.
        peak_bytes: Most that the processes held.
        reported_peak_bytes: MLX's peak, where the trainer prints it.
        nan_after: Steps up to which every loss was a number; None while all are.
        adapters: Files that this run completed.
    """

    forecast: Forecast
    notices: Notices
    pace: Pace = field(init=False)
    peak_bytes: int = 0
    reported_peak_bytes: int | None = None
    nan_after: int | None = None
    adapters: list[Adapter] = field(default_factory=list)
    swap: SwapUse | None = None
    progress: int = 0
    _finite_up_to: int = 0
    _finish_s: float | None = None

    def __post_init__(self) -> None:
        """Begin with no steps."""
        self.pace = Pace(self.forecast)

    def start(self) -> None:
        """Say what is known before the first step."""
        known = self.forecast
        for reason in known.unknown:
            self.notices.warn(f"unknown {reason}", f"not compared: {reason}")
        if known.nan_count:
            more = f" and {known.nan_count - 1:,} more" if known.nan_count > 1 else ""
            self.notices.warn(
                "nan ahead",
                f"iteration {known.nan_iterations[0]:,}{more} has no trained token: its loss will "
                "be NaN, and every adapter saved from then on",
            )

    def hear(self, event: output.Event, at_s: float) -> None:
        """Take in what the trainer printed."""
        match event:
            case output.Start():
                self.pace.start(at_s)
            case output.Progress(iteration):
                self.progress = max(self.progress, iteration)
            case output.ValReport():
                self.pace.start(at_s - event.duration_s)
                self.pace.validate(event.duration_s)
                self._loss("validation", event.iteration, event.loss)
            case output.TrainReport():
                self._train(event, at_s)

    def _train(self, event: output.TrainReport, at_s: float) -> None:
        self.pace.report(event.iteration, at_s)
        self.progress = max(self.progress, event.iteration)
        if self._loss("train", event.iteration, event.loss) and self.nan_after is None:
            self._finite_up_to = event.iteration
        if event.peak_bytes is not None:
            self.reported_peak_bytes = event.peak_bytes
            self._peak(event.peak_bytes, "MLX's peak", 0)
        self._speed()
        self._finish(at_s)

    def _loss(self, kind: str, iteration: int, loss: float) -> bool:
        """Return whether a loss is a number; the first that is none is said."""
        if math.isfinite(loss):
            return True
        if kind == "train" and self.nan_after is None:
            self.nan_after = self._finite_up_to
        text = f"the {kind} loss is {loss} at iteration {iteration:,}"
        if kind == "train":
            text += f": adapters saved after iteration {self._finite_up_to:,} are lost"
        self.notices.warn(f"nan {kind}", text)
        return False

    def hold(self, held_bytes: int) -> None:
        """Take in what the processes hold."""
        self.peak_bytes = max(self.peak_bytes, held_bytes)
        self._peak(held_bytes // self.forecast.here, "a process of the run holds", MARGIN_BYTES)

    def _peak(self, size: int, what: str, outside: int) -> None:
        """Compare memory with the upper end of the prediction, and what is outside of MLX."""
        low, high = self.forecast.peak_low_bytes, self.forecast.peak_high_bytes
        if low is None or high is None or size <= high + outside:
            return
        more = f" and {format_bytes(outside)} outside of MLX" if outside else ""
        self.notices.warn(
            f"peak {what}",
            f"{what} {format_bytes(size)}; predicted were {format_interval(low, high)}{more}",
        )

    def explains(self, held_bytes: int) -> bool:
        """Return whether the prediction covers what the processes hold."""
        high = self.forecast.peak_high_bytes
        return high is not None and held_bytes <= high * self.forecast.here

    def _speed(self) -> None:
        latest, ratio = self.pace.latest_step_s(), self.pace.slowdown()
        if latest is None:
            return
        if ratio is not None and ratio > SLOWER:
            self.notices.warn(
                "slower",
                f"steps take {format_seconds(latest)}, {format_number(ratio, 2)} times as long as "
                f"the first ones did for batches as wide, at iteration {self.pace.iteration:,}",
            )
        against = self.pace.against_prediction()
        if against is not None and against > SLOWER:
            self.notices.warn(
                "slower than predicted",
                f"steps take {format_seconds(latest)}, {format_number(against, 2)} times as long "
                "as predicted",
            )

    def _finish(self, at_s: float) -> None:
        """Say when the run will be over, and again when that has moved."""
        left = self.pace.left_s()
        if left is None or left <= 0:
            return
        finish = at_s + left
        moved = None if self._finish_s is None else finish - self._finish_s
        if moved is None:
            self.notices.warn("finish", f"finish: {_clock(left)}")
        elif abs(moved) > MOVED * left and abs(moved) > MINUTE_S:
            late = f"{'later' if moved > 0 else 'earlier'} than at first"
            text = f"finish: {_clock(left)}, {format_duration(abs(moved))} {late}"
            self.notices.warn(f"finish {'later' if moved > 0 else 'earlier'}", text)
            return
        self._finish_s = finish if self._finish_s is None else self._finish_s

    def look(self, free_bytes: int | None, swap: SwapUse | None) -> None:
        """Take in the free memory and the swap of the system."""
        if free_bytes is not None and free_bytes < MARGIN_BYTES:
            self.notices.warn(
                "free", f"free memory is {format_bytes(free_bytes)}: the system may start to page"
            )
        if swap is None:
            return
        self.swap = self.swap or swap
        written = swap.swapped_out_bytes - self.swap.swapped_out_bytes
        if written >= SWAPPED_BYTES:
            self.notices.warn(
                "swap", f"{format_bytes(written)} were swapped out since the run started"
            )

    def look_at_disk(self, free_bytes: int) -> None:
        """Compare the free disk space with the saves to come."""
        known = self.forecast
        size = self.adapters[-1].nbytes if self.adapters else known.adapter_bytes
        if size is None or known.iters is None or not known.save_every:
            return
        count = known.iters // known.save_every - self.progress // known.save_every
        if count * size > free_bytes:
            self.notices.warn(
                "disk",
                f"{format_bytes(free_bytes)} are free on the disk of the adapters; {count:,} saves "
                f"to come need {format_bytes(count * size)}",
            )

    def usable(self) -> Adapter | None:
        """Return the last complete adapter file that was saved while the loss was a number."""
        limit = self.nan_after
        good = [item for item in self.adapters if limit is None or item.iteration <= limit]
        return max(good, key=lambda item: item.iteration, default=None)


def _clock(left_s: float) -> str:
    """Return a finish as time of day, and how long that is from now."""
    at = dt.datetime.now().astimezone() + dt.timedelta(seconds=left_s)
    day = at.strftime("%Y-%m-%d %H:%M") if left_s > DAY_S / 2 else at.strftime("%H:%M")
    return f"about {day}, in {format_duration(left_s)}"


def format_duration(seconds: float) -> str:
    """Return a duration as hours, minutes or seconds."""
    if seconds >= HOUR_S:
        return f"{format_number(seconds / HOUR_S, 3)} h"
    if seconds >= MINUTE_S:
        return f"{format_number(seconds / MINUTE_S, 3)} min"
    return format_seconds(seconds)
