"""Session run7-duration: how long the run takes, and whether that is within the limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_duration
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import memory
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.training_run import TrainingRun, require_run

if TYPE_CHECKING:
    from mlx_preflight.training.step_times import StepTimes

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a run, by what they are spent on.

    Attributes:
        train_s: Training steps.
        compile_s: The first step of every width, beyond a step.
        validation_s: Validations, and a test after the training.
        save_s: Saves of the adapters.
        error: Share by which the sum may be off, both ways.
        epochs: Times that the run goes through its rows.
    """

    train_s: float
    compile_s: float
    validation_s: float
    save_s: float
    error: float
    epochs: float

    @property
    def total_s(self) -> float:
        """Return the sum."""
        return self.train_s + self.compile_s + self.validation_s + self.save_s

    @property
    def ends_s(self) -> tuple[float, float]:
        """Return the ends of the interval."""
        return self.total_s / (1 + self.error), self.total_s * (1 + self.error)

    def describe(self, now: dt.datetime | None = None) -> str:
        """Return it in words, with the finish time of a start now where that is given."""
        low, high = self.ends_s
        parts = {
            "steps": self.train_s,
            "validations": self.validation_s,
            "compilation": self.compile_s,
            "saves": self.save_s,
        }
        shares = ", ".join(f"{name} {s / self.total_s:.0%}" for name, s in parts.items())
        epoch = f"; {format_duration(self.total_s / self.epochs)} per epoch" if self.epochs else ""
        return (
            f"{format_duration(self.total_s)} ({format_duration(low)} to {format_duration(high)}): "
            f"{shares}{epoch}{'' if now is None else _finish(now, self.total_s)}"
        )


def of_run(run: TrainingRun, batches: Batches, times: StepTimes, rows: int) -> Duration:
    """Return how long a run takes.

    Args:
        run: Its settings.
        batches: Its batches.
        times: What a batch of each width takes.
        rows: Rows of train.jsonl.
    """
    settings = run.settings
    widths = np.array(batches.widths, dtype=int)
    # A step of each width is compiled once, for each of the steps that accumulation makes.
    firsts = times.first.at(sorted(set(batches.widths))).sum() if len(widths) else 0.0
    checked = [width for item in batches.validations for width in item.widths] + [*batches.test]
    saves = settings["iters"] // settings["save_every"] * 2 + 1
    done = len(widths) * batches.rows * run.world
    return Duration(
        train_s=float(times.train.at(widths).sum()) if len(widths) else 0.0,
        compile_s=float(firsts),
        validation_s=float(times.validation.at(checked).sum()) if checked else 0.0,
        save_s=saves * times.save_s,
        error=times.error,
        epochs=done / rows if rows else 0.0,
    )


def _finish(now: dt.datetime, total_s: float) -> str:
    end = now + dt.timedelta(seconds=total_s)
    return f"; started now, it ends {end:%Y-%m-%d %H:%M}"


DEFAULT_VALIDATIONS = (200, 25)
"""Iterations between two validations, and batches of one: defaults of `mlx_lm.lora` (0.32)."""


def of_iterations(times: StepTimes, iterations: int, width: int) -> Duration:
    """Return how long iterations take whose rows all reach the limit, validated by default.

    Args:
        times: What a batch takes.
        iterations: How many.
        width: Tokens of every row.
    """
    every, batches = DEFAULT_VALIDATIONS
    checked = len({1, iterations, *range(every, iterations + 1, every)}) * batches
    return Duration(
        train_s=iterations * float(times.train.at(width)),
        compile_s=float(times.first.at(width)),
        validation_s=checked * float(times.validation.at(width)),
        save_s=times.save_s,
        error=times.error,
        epochs=0.0,
    )


@dataclass(frozen=True, slots=True)
class DurationFacts:
    """Facts of the session.

    Attributes:
        duration: How long the run takes, or why that is unknown.
        source: Where the seconds of a step come from.
        max_hours: The project's limit; None without one.
    """

    duration: Duration | PreflightError
    source: str
    max_hours: float | None

    def known(self) -> Duration:
        """Return the duration, or raise why it is unknown."""
        if isinstance(self.duration, PreflightError):
            raise self.duration
        return self.duration


def gather(_: Session, context: Context) -> DurationFacts:
    """Find what a step takes, and add up the run."""
    require_run(context)
    found = or_error(lambda: _found(context))
    limit = context.settings.max_hours
    if isinstance(found, PreflightError):
        return DurationFacts(found, "", limit)
    duration, times = found
    return DurationFacts(duration, times.source, limit)


def _found(context: Context) -> tuple[Duration, StepTimes]:
    from mlx_preflight.training import peaks, timing  # noqa: PLC0415  (they import mlx)

    fits = memory.gather_facts(context)
    budget = fits.budget
    if isinstance(budget, PreflightError):
        raise budget
    needed = fits.highest().prediction.peak_high_bytes * fits.here
    if needed > budget.budget_bytes:
        raise BlockedError(
            f"{register.RUN5_3} fails: a run that pages has no speed worth a figure",
            hint="see run5-memory",
        )
    run, batches, rows = peaks.batches_of(context)
    times = timing.find(context, run, batches)
    train = rows.splits.get("train")
    return of_run(run, batches, times, len(train) if train else 0), times


def run7_1(facts: DurationFacts) -> Outcome:
    """Report how long the run takes."""
    found = facts.known()
    now = dt.datetime.now(dt.UTC).astimezone()
    low, high = found.ends_s
    values: Mapping[str, Any] = {
        "duration_s": found.total_s,
        "duration_low_s": low,
        "duration_high_s": high,
        "steps_s": found.train_s,
        "validations_s": found.validation_s,
        "compilation_s": found.compile_s,
        "saves_s": found.save_s,
    }
    return Outcome(
        Status.PASS,
        f"{found.describe(now)}; from {facts.source}",
        Evidence.SIMULATED,
        tuple(Measurement(name, round(value, 3), "s") for name, value in values.items()),
    )


def run7_2(facts: DurationFacts) -> Outcome:
    """Compare the upper end with the project's limit."""
    if facts.max_hours is None:
        return Outcome(Status.PASS, "no limit is set (`max-hours`)", Evidence.SIMULATED)
    most, limit = facts.known().ends_s[1], facts.max_hours * HOUR_S
    fits = most <= limit
    return Outcome(
        Status.PASS if fits else Status.FAIL,
        f"at most {format_duration(most)} of {format_duration(limit)}",
        Evidence.SIMULATED,
        (Measurement("duration_high_s", round(most, 3), "s", f"<= {limit:.0f}"),),
    )


CHECKS: dict[str, Callable[[DurationFacts], Outcome]] = {
    register.RUN7_1: run7_1,
    register.RUN7_2: run7_2,
}
