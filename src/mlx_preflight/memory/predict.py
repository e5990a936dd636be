"""Predict the peak memory of a run from a config and settings, without running it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.memory import rules
from mlx_preflight.memory.settings import Settings

CATEGORIES = (
    "weights",
    "adapters",
    "optimizer state",
    "gradients",
    "saved activations",
    "attention scores",
    "logits and loss",
    "KV cache",
    "temporaries",
)
"""Parts of the breakdown, in the order in which they are shown."""


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

    from mlx_preflight.memory import architecture, fusion, liveness, schedule, trace  # noqa: PLC0415

    started = time.perf_counter()
    model = architecture.build(config, settings)
    parameters = int(get_total_parameters(model))
    weight_bytes = sum(array.nbytes for array in trace.leaves(model.parameters()))
    architecture.adapt(model, settings)
    optimizer = architecture.optimizer(model, settings)
    trainable = sum(array.size for array in trace.leaves(model.trainable_parameters()))
    graph = fusion.fuse(trace.training(model, optimizer, settings))
    wanted = [*graph.outputs[2:], *graph.outputs[:2]]
    order = schedule.order(graph, wanted)
    keep = [*wanted, *graph.inputs[:2]]
    replay = liveness.Machine(graph, order, keep, liveness.TaskLag()).run()
    breakdown = dict.fromkeys(CATEGORIES, 0)
    breakdown["temporaries"] = replay.peak_bytes
    low, high = rules.ERROR[settings.backend]
    return Prediction(
        peak_bytes=replay.peak_bytes,
        peak_low_bytes=int(replay.peak_bytes * (1 - low)),
        peak_high_bytes=int(replay.peak_bytes * (1 + high)),
        breakdown_bytes=breakdown,
        parameters=parameters,
        trainable_parameters=trainable,
        weight_bytes=weight_bytes,
        backend=settings.backend,
        settings=settings,
        warnings=(),
        timeline=(breakdown,),
        seconds=time.perf_counter() - started,
    )
