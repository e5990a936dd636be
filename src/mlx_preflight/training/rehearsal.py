"""Session run6-rehearsal: mlx_lm's trainer on slices of the model, at the run's own widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mlx_preflight.core.errors import (
    BlockedError,
    ChildCrashError,
    InstallationError,
    PreflightError,
    WorkerError,
    or_error,
)
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_bytes, format_interval, format_percent, format_seconds
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.models import source
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import memory
from mlx_preflight.training.memory import PeakFacts
from mlx_preflight.training.training_run import require_run

if TYPE_CHECKING:
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.training.slice_runs import Rehearsal
    from mlx_preflight.training.step_times import StepTimes

NOISY = 0.15
"""Spread of the steps from which it is said that the machine was busy."""

LEAST_ERROR = 0.025
"""Share by which a corrected peak may be off at least, both ways: of 23 whole runs the worst was
2.0 % off, and slices of a run agree better among each other (benchmarks/duration.py)."""

KNOWN_FAULTS = {
    "Cannot calculate VJP with respect to indices": (
        "this pair of mlx and mlx-lm cannot train experts: install the newest of both, "
        "or leave the experts out of the LoRA keys"
    ),
    "not implemented": "install another version of mlx or mlx-lm: this one has no such gradient",
}
"""Words of an exception → what helps."""

FAILURES = (WorkerError, ChildCrashError, InstallationError)
"""Errors of a step itself; a child that was killed or took too long says nothing about it."""


@dataclass(frozen=True, slots=True)
class RehearsalFacts:
    """Facts of the session.

    Attributes:
        rehearsal: What the slices took, or why there is none.
        memory: Predicted peaks and the budget.
        times: What they say of the whole run's steps; None without a rehearsal.
    """

    rehearsal: Rehearsal | PreflightError
    memory: PeakFacts
    times: StepTimes | None = None

    def known(self) -> Rehearsal:
        """Return the rehearsal, or raise why there is none."""
        if isinstance(self.rehearsal, FAILURES):
            raise BlockedError(f"{register.RUN6_1} fails: no step ended")
        if isinstance(self.rehearsal, PreflightError):
            raise self.rehearsal
        return self.rehearsal


def gather(_: Session, context: Context) -> RehearsalFacts:
    """Train slices of the run's model."""
    run = require_run(context)
    facts = memory.gather_facts(context)
    if not run.settings["train"]:
        error = BlockedError("train is not set: there is no step to rehearse")
        return RehearsalFacts(error, facts)
    found = or_error(lambda: _rehearsed(context, facts))
    if isinstance(found, PreflightError):
        return RehearsalFacts(found, facts)
    return RehearsalFacts(found[0], facts, found[1])


def _rehearsed(context: Context, facts: PeakFacts) -> tuple[Rehearsal, StepTimes]:
    from mlx_preflight.training import (  # noqa: PLC0415  (they import mlx)
        peaks,
        slice_runs,
        timing,
    )

    if isinstance(facts.budget, PreflightError):
        raise facts.budget
    run, batches, _ = peaks.batches_of(context)
    if not batches.widths:
        raise BlockedError("no batch can be made", hint="see run4-data")
    checked = [width for item in batches.validations for width in item.widths]
    found = slice_runs.rehearse(
        source.find(run.model).config,
        timing.rehearsed_settings(run, max(batches.widths)),
        batches.widths,
        checked,
        budget_bytes=facts.budget.budget_bytes // max(run.here, 1),
        note=context.note,
        folder=Workspace(context.state).cache / "rehearsals",
    )
    return found, timing.of_rehearsal(found, elsewhere=run.world - run.here)


def run6_1(facts: RehearsalFacts) -> Outcome:
    """Report whether a training step works under the installed versions."""
    if isinstance(facts.rehearsal, FAILURES):
        pair = f"mlx {version('mlx')}, mlx-lm {version('mlx-lm')}"
        said = str(facts.rehearsal)
        said = said if pair in said else f"{said} ({pair})"
        known = (hint for words, hint in KNOWN_FAULTS.items() if words.lower() in said.lower())
        return Outcome(
            Status.FAIL,
            said,
            Evidence.SIMULATED,
            remedy=facts.rehearsal.hint
            or next(known, "install another pair of versions, or train another model"),
        )
    found = facts.known()
    return Outcome(Status.PASS, found.describe(), Evidence.SIMULATED)


def run6_2(facts: RehearsalFacts) -> Outcome:
    """Report the seconds of a step of the whole model, at the measured widths."""
    ranks = facts.known().rank_seconds
    times = facts.times
    if times is None:
        raise BlockedError("no step was timed")
    pairs = list(zip(times.train.widths, times.train.seconds, strict=True))
    words = ", ".join(f"{format_seconds(seconds)} at {width} tokens" for width, seconds in pairs)
    busy = "; the machine was busy: the interval is wider" if times.spread > NOISY else ""
    each = f"; by process {', '.join(map(format_seconds, ranks))}" if ranks else ""
    return Outcome(
        Status.PASS,
        f"a step takes {words}{each}; spread {format_percent(100 * times.spread)}{busy}",
        Evidence.SIMULATED,
        (
            *(Measurement(f"step_{width}_s", round(s, 6), "s") for width, s in pairs),
            *(Measurement(f"rank_{n}_s", round(s, 6), "s") for n, s in enumerate(ranks)),
            Measurement("spread", round(100 * times.spread, 2), "percent"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Corrected:
    """Peak of the whole run as slices of it correct the prediction.

    Attributes:
        peak_bytes: The peak.
        peak_low_bytes: Lower end of its interval.
        peak_high_bytes: Upper end.
        ratio: Measured by predicted peak of the slices.
    """

    peak_bytes: int
    peak_low_bytes: int
    peak_high_bytes: int
    ratio: float


def corrected(found: Rehearsal, peak: Any) -> Corrected:
    """Return a predicted peak, corrected.

    The interval is that of the slices where it is narrower than the prediction's: their
    differences among each other, and `LEAST_ERROR`.

    Args:
        found: The rehearsal.
        peak: Prediction of the whole run.
    """
    ratios = found.memory_ratios
    ratio = sum(found.measured_bytes) / sum(found.predicted_bytes)
    error = max(LEAST_ERROR, *(abs(one / ratio - 1) for one in ratios))
    middle = peak.peak_bytes * ratio
    return Corrected(
        round(middle),
        round(max(middle * (1 - error), min(peak.peak_low_bytes, middle))),
        round(min(middle * (1 + error), max(peak.peak_high_bytes, middle))),
        ratio,
    )


def run6_3(facts: RehearsalFacts) -> Outcome:
    """Compare the corrected peak with the budget; without a rehearsal, the predicted one."""
    budget = facts.memory.budget
    if isinstance(budget, PreflightError):
        raise budget
    if isinstance(facts.memory.training, PreflightError) or facts.memory.training is None:
        raise facts.memory.training or BlockedError("nothing is trained")
    if isinstance(facts.rehearsal, BlockedError):
        peak, here = facts.memory.training.prediction, facts.memory.here
        return _predicted_only(facts.rehearsal, peak, here, budget.budget_bytes)
    found = facts.known()
    one = corrected(found, facts.memory.training.prediction)
    needed = one.peak_high_bytes * facts.memory.here
    off = format_percent(100 * (one.ratio - 1), signed=True)
    return Outcome(
        Status.PASS if needed <= budget.budget_bytes else Status.FAIL,
        f"slices differ by {off} from what was predicted, so the run needs "
        f"{format_bytes(one.peak_bytes)} "
        f"({format_interval(one.peak_low_bytes, one.peak_high_bytes)}) of "
        f"{format_bytes(budget.budget_bytes)}",
        Evidence.SIMULATED,
        (
            Measurement("corrected_peak_bytes", one.peak_bytes, "bytes"),
            Measurement("needed_bytes", needed, "bytes", f"<= {budget.budget_bytes}"),
            Measurement("measured_by_predicted", round(one.ratio, 5), "ratio"),
        ),
    )


def _predicted_only(reason: BlockedError, peak: Prediction, here: int, limit: int) -> Outcome:
    """Return what is known of a run of which no slice could be trained."""
    needed = peak.peak_high_bytes * here
    return Outcome(
        Status.FAIL if needed > limit else Status.BLOCKED,
        f"{reason}; predicted only: {format_bytes(peak.peak_bytes)} "
        f"({format_interval(peak.peak_low_bytes, peak.peak_high_bytes)}) of {format_bytes(limit)}",
        Evidence.SIMULATED,
        (Measurement("needed_bytes", needed, "bytes", f"<= {limit}"),),
        remedy=reason.hint,
    )


CHECKS: dict[str, Callable[[RehearsalFacts], Outcome]] = {
    register.RUN6_1: run6_1,
    register.RUN6_2: run6_2,
    register.RUN6_3: run6_3,
}
