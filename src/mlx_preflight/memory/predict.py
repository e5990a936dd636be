"""Predict the peak memory of a run from a config and settings, without running it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.memory import architecture, generation, rules, simulation, trace
from mlx_preflight.memory.breakdown import breakdown
from mlx_preflight.memory.settings import Settings

@dataclass(frozen=True, slots=True)
class Prediction:
    """Hold what a run is predicted to take.

    Attributes:
        peak_bytes: Largest active memory, as `mx.get_peak_memory` counts it.
        peak_low_bytes: Lower end of the interval.
        peak_high_bytes: Upper end; judge a budget by this one.
        breakdown_bytes: Bytes at the moment of the peak by category; sums to `peak_bytes`.
        parameters: Parameters of the model, adapters not counted.
        trainable_parameters: Parameters of the adapters; 0 for inference.
        weight_bytes: Bytes of the frozen weights in memory, which a download is close to.
        backend: Backend that the prediction holds for.
        settings: What was asked.
        warnings: What makes the prediction weaker than its published error.
        timeline: Live bytes by category at some hundred moments of the step, in order.
        seconds: Time that the prediction took.
    """

    peak_bytes: int
    peak_low_bytes: int
    peak_high_bytes: int
    breakdown_bytes: dict[str, int]
    parameters: int
    trainable_parameters: int
    weight_bytes: int
    backend: str
    settings: Settings
    warnings: tuple[str, ...]
    timeline: tuple[dict[str, int], ...]
    seconds: float


def predict(config: Mapping[str, Any], settings: Settings) -> Prediction:
    """Predict the peak memory of training or generation.

    Args:
        config: The model's config.json.
        settings: The run.

    Raises:
        EstimateError: A field of the config or a setting that cannot be; it names the
            field, the value and what is allowed.
    """
    from mlx_lm.utils import get_total_parameters  # noqa: PLC0415

    started = time.perf_counter()
    model = architecture.build(config, settings)
    parameters = int(get_total_parameters(model))
    weight_bytes = sum(array.nbytes for array in trace.leaves(model.parameters()))
    trained: list[Any] = []
    if settings.inference:
        steps = generation.steps(model, settings)
    else:
        architecture.adapt(model, settings)
        trained = list(trace.leaves(model.trainable_parameters()))
        steps = trace.training(model, settings)
    found = simulation.highest(steps, settings.backend)
    shapes = {tuple(array.shape) for array in trained}
    parts = breakdown(found, architecture.vocabulary(config), shapes)
    peak = found.replay.peak_bytes
    low, high = rules.ERROR[settings.backend]
    return Prediction(
        peak_bytes=peak,
        peak_low_bytes=int(found.lowest_bytes * (1 - low)),
        peak_high_bytes=int(peak * (1 + high)),
        breakdown_bytes=parts.peak,
        parameters=parameters,
        trainable_parameters=sum(array.size for array in trained),
        weight_bytes=weight_bytes,
        backend=settings.backend,
        settings=settings,
        warnings=(),
        timeline=parts.timeline,
        seconds=time.perf_counter() - started,
    )
