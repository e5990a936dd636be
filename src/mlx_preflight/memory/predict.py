"""Predict the peak memory of a run from a config and settings, without running it."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.memory import rules, simulation, subjects, validation
from mlx_preflight.memory.breakdown import breakdown
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.subjects import Subject


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
        UntraceableError: MLX cannot export this model, and nothing else estimates it.
    """
    import mlx.core as mx  # noqa: PLC0415

    started = time.perf_counter()
    validation.check_settings(settings)
    validation.check_config(config, settings)
    with _uncollected():
        # Elsewhere than on the CPU, MLX would trace that machine's kernels, not the backend's.
        with mx.stream(mx.cpu):
            subject = subjects.build(config, settings)
        found = simulation.highest(subject.steps, settings.backend)
        parts = breakdown(found, subject.vocabulary, subject.trained_shapes)
    parts.add("adapters", subject.untraced_bytes)
    peak = found.replay.peak_bytes + subject.untraced_bytes
    low, high, warnings = _interval(parts.peak, found.lowest_bytes, peak, settings, subject)
    return Prediction(
        peak_bytes=peak,
        peak_low_bytes=low,
        peak_high_bytes=high,
        breakdown_bytes=parts.peak,
        parameters=subject.parameters,
        trainable_parameters=subject.trainable_parameters,
        weight_bytes=subject.weight_bytes,
        backend=settings.backend,
        settings=settings,
        warnings=(*subject.warnings, *warnings),
        timeline=parts.timeline,
        seconds=time.perf_counter() - started,
    )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Stop the search for reference cycles, which walks a large graph again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _unchecked() -> Iterator[str]:
    """Yield what makes MLX here another one than the rules were checked against."""
    version = importlib.metadata.version("mlx")
    if version not in rules.CHECKED:
        yield (
            f"mlx is {version}; the rules were checked against {', '.join(rules.CHECKED)}: "
            "the interval is wider"
        )
    if changed := [name for name in rules.OVERRIDES if name in os.environ]:
        yield (
            f"{', '.join(changed)} is set in the environment, and MLX follows other rules with "
            "it than the prediction: the interval is wider"
        )


def _interval(
    parts: Mapping[str, int], lowest: int, peak: int, settings: Settings, subject: Subject
) -> tuple[int, int, list[str]]:
    """Return the ends of the interval and what made it wider."""
    warnings = list(_unchecked())
    shares = rules.GENERATION_ERROR if settings.inference else rules.ERROR
    under, over = shares[settings.backend]
    for _ in warnings:
        under, over = under * rules.WIDER, over * rules.WIDER
    if subject.untraced_bytes:
        over += rules.UNTRACED
    if settings.backend == "cuda" and not settings.inference:
        lowest -= parts["attention scores"]
        warnings.append(
            "backend is cuda: cuDNN's attention keeps no scores for the backward pass, so a "
            "measured peak is lower than this one, which counts them"
        )
    high = peak * (1 + over)
    if settings.backend == "cpu":
        high += rules.REUSED * subject.reusable_bytes
    return int(lowest * (1 - under)), int(high), warnings
