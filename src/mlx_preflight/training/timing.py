"""What a step of a run takes: from an own run, a rehearsal, a calibration, a table, or a probe.

It imports mlx; `duration` judges what it returns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mlx_preflight.core import environment
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.memory import calibration
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.replay.costs import Costs
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.run.context import Context
from mlx_preflight.training import (
    calibration_file,
    chips,
    own_runs,
    peaks,
    slice_runs,
    speed,
    step_times,
)
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.calibration_file import Calibration
from mlx_preflight.training.slice_runs import Rehearsal
from mlx_preflight.training.step_times import Curve, StepTimes
from mlx_preflight.training.training_run import TrainingRun

REHEARSED = 0.35
"""Share by which a time from slices may be off beside their spread: of 23 whole runs on an idle
machine, whose equal runs were up to 16 % apart, the worst was 36 % off (benchmarks/duration.py,
CPU, mlx-lm 0.32.2, 2026-11-28)."""

CALIBRATED = 0.4
"""Share by which a time from this machine's calibration may be off."""

FORWARD_CALLS = 0.5
"""Primitives of a validation, which is not compiled, by those of a step, roughly."""

SAVED_S = 0.05
"""Seconds of a save where none was measured; a file of adapters has few hundred MB at most."""

COMPILED = 1.0
"""Steps' worth of seconds that the first step of a width takes more, where not measured."""


def find(context: Context, run: TrainingRun, batches: Batches, *, probe: bool = True) -> StepTimes:
    """Return what the batches of a run take, from the best source that there is.

    Args:
        context: Context of the run, whose folder keeps rehearsals.
        run: The run.
        batches: Its batches.
        probe: Whether this machine's speed may be measured where nothing is kept.

    Raises:
        PreflightError: A step cannot be traced, or the machine's speed is not known.
    """
    config = source.find(run.model).config
    most = max(batches.widths)
    own = of_own_run(run, batches, context.note)
    settings = rehearsed_settings(run, most)
    kept = slice_runs.find(Workspace(context.state).cache / "rehearsals", config, settings)
    if kept is not None:
        rehearsed = of_rehearsal(kept, elsewhere=run.world - run.here)
        # Both are measurements of this machine: the complete run counts first, unless it was
        # so uneven that the rehearsal knows more.
        return rehearsed if own is None or rehearsed.error < own.error else own
    if own is not None:
        return own
    prediction = peaks.training_peak(run, batches).prediction
    return of_prediction(prediction, most, note=context.note, probe=probe)


def of_own_run(run: TrainingRun, batches: Batches, note: Callable[[str], None]) -> StepTimes | None:
    """Return the times of an earlier run of the same model, settings, machine and versions.

    None means that there is none, or that other machines take part, whose speed is not recorded.
    """
    if run.here != run.world:
        return None
    config = source.find(run.model).config
    return own_runs.find(config, peaks.settings_of(run, max(batches.widths)), batches, note)


def digest(run: TrainingRun) -> str:
    """Return the digest under which a run's steps are recorded; empty with other machines."""
    if run.here != run.world:
        return ""
    return own_runs.digest(source.find(run.model).config, peaks.settings_of(run, 1))


def rehearsed_settings(run: TrainingRun, width: int) -> Settings:
    """Return the settings under which a run is rehearsed: all of its processes, or one of them.

    Args:
        run: The run; where other machines take part, one process is rehearsed alone.
        width: Tokens of a row, padded and cut.
    """
    found = peaks.settings_of(run, width)
    return found if run.here == run.world else dataclasses.replace(found, ranks=1)


def of_prediction(
    prediction: Prediction,
    most: int,
    *,
    chip: str = "",
    note: Callable[[str], None] = lambda _: None,
    probe: bool = True,
) -> StepTimes:
    """Return times from what a predicted step computes, and the speed of a chip.

    Args:
        prediction: Of a training step.
        most: Widest batch of the run, tokens per row.
        chip: Name of a chip of the table; empty for this machine.
        note: Told what is measured.
        probe: Whether this machine may be measured now.

    Raises:
        UsageError: The chip is unknown, nothing may be measured, or the backend is another one.
        ChildError: This machine's speed cannot be measured.
    """
    settings = prediction.settings
    if not chip and (own := _calibrated(settings)) is not None:
        return estimated(
            prediction,
            most,
            lambda costs: own.speed.seconds(costs, settings.dtype, settings.bits),
            CALIBRATED,
            own.describe(),
        )
    processor = chip or str(environment.capture()["processor"])
    known = chips.find(processor)
    if known is not None and settings.backend != "cpu":
        return estimated(
            prediction,
            most,
            lambda costs: chips.seconds(known, costs),
            chips.ERROR,
            f"the table of chips ({processor}); a rehearsal measures it",
        )
    require_speed(settings.backend, chip)
    if not probe:
        raise UsageError(f"no speed is known of {settings.backend}", hint=NAME_CHIP)
    note("measuring this machine's speed")
    plain, packed = (settings.dtype, None), (settings.dtype, settings.bits)
    kinds = (plain, packed) if settings.bits else (plain,)
    found = speed.measure(settings.backend, kinds, group_size=settings.group_size)
    return estimated(
        prediction,
        most,
        lambda costs: found.seconds(costs, settings.dtype, settings.bits),
        speed.ERROR,
        "products measured here now; a rehearsal measures steps",
    )


NAME_CHIP = f"name a chip with --chip: {', '.join(chips.CHIPS)}"


def require_speed(backend: str, chip: str = "") -> None:
    """Refuse a chip, or a backend without one, of which no speed can be known.

    Raises:
        UsageError: The chip is not in the table, or is none of the backend; or none is named
            and the backend is not this machine's.
    """
    if chip and chips.find(chip) is None:
        raise UsageError(f"no speed is known of {chip}", hint=NAME_CHIP)
    if chip and backend == "cpu":
        raise UsageError(
            f"--chip {chip} is a GPU, and the run computes on the cpu",
            hint="add --backend metal, or leave out --chip",
        )
    if not chip and backend != calibration.backend() and not calibration_file.paths(backend):
        raise UsageError(f"no speed is known of {backend}", hint=NAME_CHIP)


def _calibrated(settings: Settings) -> Calibration | None:
    """Return this machine's calibration where it holds the products of a run.

    Raises:
        ResultError: The file is damaged.
    """
    found = calibration_file.find(settings.backend)
    kinds = {f"{settings.dtype}/0", f"{settings.dtype}/{settings.bits or 0}"}
    return found if found is not None and kinds <= found.speed.products.keys() else None


def of_rehearsal(found: Rehearsal, *, elsewhere: int = 0) -> StepTimes:
    """Return the whole run's times from those of its slices.

    Args:
        found: The rehearsal.
        elsewhere: Processes on other machines, with which nothing was exchanged.
    """
    missing = f"; without the exchange with {elsewhere} other processes" if elsewhere else ""
    train, first, spread = step_times.combine(found.parts, "widths")
    half = Curve(train.widths, tuple(seconds / 2 for seconds in train.seconds))
    checked = half
    if any(answer["validation"] for answer in found.answers):
        checked, _, _ = step_times.combine(found.parts, "validation")
    saves = [(weight, answer["save_s"]) for weight, answer in found.parts]
    return StepTimes(
        train=train,
        first=first,
        validation=checked,
        save_s=max(sum(weight * seconds for weight, seconds in saves), 0.0),
        error=REHEARSED + 2 * spread,
        spread=spread,
        source=f"a rehearsal: {found.describe()}{missing}",
    )


def estimated(
    prediction: Prediction,
    most: int,
    seconds: Callable[[Costs], float],
    error: float,
    where: str,
) -> StepTimes:
    """Return times from the arithmetic of the traced step.

    Args:
        prediction: Of a training step.
        most: Widest batch of the run, tokens per row.
        seconds: What work takes.
        error: Share by which that may be off.
        where: Where `seconds` comes from.
    """
    costs = prediction.costs
    widths = tuple(sorted({max(most // 8, 1), most // 2, most} - {0}))
    taken = tuple(seconds(costs.at(width)) for width in widths)
    train = Curve(widths, taken)
    # A validation computes forward only: two operations for each parameter and token.
    work = costs.all_flops
    share = min(2.0 * prediction.parameters * costs.tokens / work, 1.0) if work else 1.0
    forward = tuple(seconds(costs.at(width).part(share, FORWARD_CALLS)) for width in widths)
    return StepTimes(
        train=train,
        first=Curve(widths, tuple(COMPILED * one for one in taken)),
        validation=Curve(widths, forward),
        save_s=SAVED_S,
        error=error,
        spread=0.0,
        source=where,
    )
