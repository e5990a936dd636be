"""Session run5-memory: the peak of the very batches that a training run will meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_bytes
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import budget
from mlx_preflight.training.budget import Budget
from mlx_preflight.training.training_run import read_run

if TYPE_CHECKING:
    from mlx_preflight.training.peaks import Peak


@dataclass(frozen=True, slots=True)
class PeakFacts:
    """Facts of the memory of a run.

    Attributes:
        training: Peak of the training batches, or why it is unknown; None without training.
        validation: Peak of the validation and test batches, likewise; None where there are
            none, and words where their peak cannot be the higher one.
        budget: What the run may take, or why that is unknown.
        here: Processes of the run that share this machine.
    """

    training: Peak | PreflightError | None
    validation: Peak | PreflightError | str | None
    budget: Budget | PreflightError
    here: int = 1

    def highest(self) -> Peak:
        """Return the higher peak, or raise why one of them is unknown."""
        known = []
        for peak in (self.training, self.validation):
            if isinstance(peak, PreflightError):
                raise peak
            known += [peak] if peak is not None and not isinstance(peak, str) else []
        if not known:
            raise BlockedError("nothing is trained, validated or tested")
        return max(known, key=lambda peak: peak.prediction.peak_high_bytes)


def gather(_: Session, context: Context) -> PeakFacts:
    """Predict the peaks of the widest batches, and read the budget."""
    return gather_facts(context)


def gather_facts(context: Context) -> PeakFacts:
    """Return the memory of a context's run; the sessions of one command share it."""
    key = (PeakFacts, context.training)
    if key not in context.shared:
        context.shared[key] = _gathered(context)
    found: PeakFacts = context.shared[key]
    return found


def _gathered(context: Context) -> PeakFacts:
    from mlx_preflight.training import peaks  # noqa: PLC0415  (it predicts, so it imports mlx)

    found = or_error(lambda: peaks.predict(context))
    training, validation = (found, found) if isinstance(found, PreflightError) else found
    here = or_error(lambda: read_run(context).here)
    return PeakFacts(
        training,
        validation,
        or_error(lambda: budget.read_budget(context)),
        1 if isinstance(here, PreflightError) else here,  # (then no peak is known)
    )


def run5_1(facts: PeakFacts) -> Outcome:
    """Report the peak of the widest training batch."""
    return _reported(facts.training, "training", "train is not set: nothing is trained")


def run5_2(facts: PeakFacts) -> Outcome:
    """Report the peak of the widest validation batch."""
    return _reported(facts.validation, "validation", "nothing is validated")


def _reported(peak: Peak | PreflightError | str | None, name: str, absent: str) -> Outcome:
    if isinstance(peak, PreflightError):
        raise peak
    if peak is None or isinstance(peak, str):
        return Outcome(Status.PASS, peak or absent)
    found = peak.prediction
    return Outcome(
        Status.PASS,
        peak.describe() + "".join(f"; {text}" for text in found.warnings),
        Evidence.SIMULATED,
        (
            Measurement(f"{name}_peak_bytes", found.peak_bytes, "bytes"),
            Measurement(f"{name}_peak_low_bytes", found.peak_low_bytes, "bytes"),
            Measurement(f"{name}_peak_high_bytes", found.peak_high_bytes, "bytes"),
            Measurement(f"{name}_width", peak.width, "tokens"),
            Measurement(f"{name}_iteration", peak.iteration, "count"),
        ),
    )


def run5_3(facts: PeakFacts) -> Outcome:
    """Compare the upper end of the higher peak with the budget."""
    peak = facts.highest()
    if isinstance(facts.budget, PreflightError):
        raise facts.budget
    needed, limit = peak.prediction.peak_high_bytes * facts.here, facts.budget.budget_bytes
    measured = (
        Measurement("needed_bytes", needed, "bytes", f"<= {limit}"),
        Measurement("budget_bytes", limit, "bytes"),
        Measurement("headroom_bytes", limit - needed, "bytes"),
    )
    fits = needed <= limit
    each = f"{facts.here} processes on this machine, together " if facts.here > 1 else ""
    words = (
        f"headroom {format_bytes(limit - needed)}"
        if fits
        else f"{format_bytes(needed - limit)} over"
    )
    return Outcome(
        Status.PASS if fits else Status.FAIL,
        f"{each}at most {format_bytes(needed)} of {format_bytes(limit)}, which is "
        f"{facts.budget.decided_by}: {words}; {facts.budget.describe()}",
        Evidence.SIMULATED,
        measured,
    )


CHECKS: dict[str, Callable[[PeakFacts], Outcome]] = {
    register.RUN5_1: run5_1,
    register.RUN5_2: run5_2,
    register.RUN5_3: run5_3,
}
