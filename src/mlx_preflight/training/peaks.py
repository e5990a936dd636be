"""Peaks of the widest batches of a training run, as the predictor computes them.

It imports mlx; `memory` judges what it returns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.units import format_bytes, format_interval
from mlx_preflight.memory import adapters as counted
from mlx_preflight.memory import calibration, installation
from mlx_preflight.memory import predict as predicting
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.plan import register
from mlx_preflight.run.context import Context
from mlx_preflight.training import adapters, batches, config_facts, rows
from mlx_preflight.training.adapters import AdapterError
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.training_run import TrainingRun


@dataclass(frozen=True, slots=True)
class Peak:
    """Predicted peak of the widest batch of one kind.

    Attributes:
        prediction: Its memory.
        width: Tokens per row.
        iteration: First iteration that has this width.
    """

    prediction: Prediction
    width: int
    iteration: int

    def describe(self) -> str:
        """Return peak, interval and batch in words."""
        found = self.prediction
        interval = format_interval(found.peak_low_bytes, found.peak_high_bytes)
        shape = f"{found.settings.batch_size} x {self.width} tokens"
        return (
            f"{format_bytes(found.peak_bytes)} ({interval}) on {found.backend}, "
            f"{shape} at iteration {self.iteration:,}"
        )


def predict(context: Context) -> tuple[Any, Any]:
    """Return the peaks of training and validation; None where a run has no such batch.

    A validation that cannot have the higher peak is not predicted, and its place has the reason.

    Raises:
        BlockedError: What is trained, or the batches, are not known.
    """
    run, found, _ = batches_of(context)
    trains = bool(run.settings["train"])
    context.note("memory: tracing the widest training and validation batch")
    training = or_error(lambda: _training(run, found)) if trains else None
    most = max(found.widest_validation[0], *found.test, 0)
    if isinstance(training, Peak) and 0 < most <= training.width:
        # The same forward pass, of which the training keeps more; a prediction takes seconds.
        return training, f"no batch is wider than the training's: at most {most} tokens"
    return training, or_error(lambda: _evaluation(run, found))


def batches_of(context: Context) -> tuple[TrainingRun, Batches, rows.Rows]:
    """Return a run, its batches and its rows.

    Raises:
        BlockedError: What is trained, or the batches, are not known.
    """
    run = config_facts.usable_run(context)
    try:
        if run.settings["train"]:
            adapters.of_run(run)
    except AdapterError as error:
        raise BlockedError(f"{register.RUN1_6} fails: {error}", hint=error.hint) from error
    try:
        found = rows.read_rows(context, run, rows.tokenizer_folder(run))
        return run, batches.of_run(run, found), found
    except BlockedError as error:
        raise BlockedError(f"{error}{_at_the_limit(run)}", hint=error.hint) from error


_KNOWN: dict[tuple[Any, ...], Prediction] = {}


def _predicted(config: Any, settings: Settings, **how: Any) -> Prediction:
    """Return a prediction; the sessions of one command ask for the same ones."""
    key = (json.dumps(config, sort_keys=True, default=str), settings, str(sorted(how.items())))
    if key not in _KNOWN:
        _KNOWN[key] = installation.traced(lambda: predicting.predict(config, settings, **how))
    return _KNOWN[key]


def training_peak(run: TrainingRun, found: Batches) -> Peak:
    """Return the highest peak of the training steps, see `_training`."""
    return _training(run, found)


def _at_the_limit(run: TrainingRun) -> str:
    """Return what rows that reach the limit would take, where the real ones are not known."""
    width = run.settings["max_seq_length"]
    try:
        found = _predicted(source.find(run.model).config, settings_of(run, width))
    except PreflightError:
        return ""  # the first error is the one to fix
    interval = format_interval(found.peak_low_bytes, found.peak_high_bytes)
    size = f"{format_bytes(found.peak_bytes)} ({interval}) on {found.backend}"
    return f"; rows that reach the limit of {width:,} tokens would need {size}"


def _training(run: TrainingRun, found: Batches) -> Peak:
    """Return the highest peak of the training steps.

    The widest batch may come only where little else is held: at iteration 1, before the
    optimizer has its state, or between two updates. Then the widest batch of an update counts, too.
    """
    if not found.widths:
        raise BlockedError("no batch can be made", hint="see run4-data")
    cycle = run.settings["grad_accumulation_steps"]
    widest, _ = found.widest
    updates = {
        index: width
        for index, width in enumerate(found.widths, 1)
        if index > 1 and index % cycle == 0
    }
    heaviest = max(updates.values(), default=widest)
    peaks = [_step(run, found, width) for width in {widest, heaviest}]
    return max(peaks, key=lambda peak: peak.prediction.peak_bytes)


def _step(run: TrainingRun, found: Batches, width: int) -> Peak:
    at = [index for index, other in enumerate(found.widths, 1) if other == width]
    config, settings = source.find(run.model).config, settings_of(run, width)
    prediction = _predicted(config, settings, times=len(at), iterations=at)
    return Peak(prediction, width, at[0])


def _evaluation(run: TrainingRun, found: Batches) -> Peak | None:
    """Return the peak of the widest validation or test batch; None where there is none."""
    # A test after the training is evaluated as a validation is.
    last = (max(found.test, default=0), len(found.widths) + 1)
    width, iteration = max(found.widest_validation, last, key=lambda item: item[0])
    if not width:
        return None
    settings = settings_of(run, width)
    if not _between_updates(run, found, width):
        settings = replace(settings, grad_accumulation_steps=1)
    widths = [found.test, *(item.widths for item in found.validations)]
    times = sum(item.count(width) for item in widths)
    config = source.find(run.model).config
    prediction = _predicted(config, settings, validation_only=True, times=times)
    return Peak(prediction, width, iteration)


def _between_updates(run: TrainingRun, found: Batches, width: int) -> bool:
    """Return whether gradients wait for their update while a batch of this width is validated."""
    cycle = run.settings["grad_accumulation_steps"]
    return any((v.iteration - 1) % cycle for v in found.validations if width in v.widths)


def settings_of(run: TrainingRun, width: int) -> Settings:
    """Return the settings of a run for the predictor, on this machine's backend.

    Args:
        run: The training run.
        width: Tokens of a row, padded and cut.
    """
    values = run.settings
    lora = values["lora_parameters"] or {}
    keys = lora.get("keys")
    known = {
        name: values[name]
        for name in ("grad_checkpoint", "optimizer", "grad_accumulation_steps", "fine_tune_type")
    }
    if values["fine_tune_type"] != "full":
        known |= {"rank": lora["rank"], "dropout": float(lora["dropout"])}
        known |= {"keys": None if keys is None else tuple(keys)}
    return counted.stored(
        source.find(run.model).config,
        batch_size=values["batch_size"] // run.world,
        ranks=run.world,
        max_seq_length=width,
        # mlx_lm takes 0 for all blocks, too. A test alone loads what an earlier run has trained.
        num_layers=(values["num_layers"] or -1) if values["train"] else -1,
        backend=calibration.backend(),
        **known,
    )
