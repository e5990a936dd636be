"""Prediction of the peak memory of a run from a config and settings, without running it."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import mlx.core as mx

from mlx_preflight.core.result import Evidence
from mlx_preflight.memory import backend_limits, traced_run, validation
from mlx_preflight.memory.replay import continuation, costs, rules, simulation, trace
from mlx_preflight.memory.replay.breakdown import Breakdown, breakdown
from mlx_preflight.memory.replay.costs import Costs
from mlx_preflight.memory.replay.simulation import SimulatedStep
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.traced_run import Trace, TracedRun


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted memory of a run.

    Attributes:
        peak_bytes: Largest active memory, as `mx.get_peak_memory` counts it.
        peak_low_bytes: Lower end of the interval.
        peak_high_bytes: Upper end; judge a budget by this one.
        breakdown_bytes: Bytes at the moment of the peak by category; sums to `peak_bytes`.
        parameters: Parameters of the model, adapters not counted.
        trainable_parameters: Parameters of the adapters; 0 for inference.
        weight_bytes: Bytes of the frozen weights in memory, which a download is close to.
        backend: Backend that the prediction holds for.
        settings: The settings of the run.
        warnings: What makes the prediction weaker than its published error.
        costs: Arithmetic and traffic of the step with the peak.
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
    costs: Costs

    @property
    def evidence(self) -> Evidence:
        """Return how the numbers were obtained: computed, nothing was run."""
        return Evidence.SIMULATED


def predict(
    config: Mapping[str, Any],
    settings: Settings,
    *,
    validation_only: bool = False,
    times: int | None = None,
    iterations: Collection[int] | None = None,
) -> Prediction:
    """Predict the peak memory of training or generation.

    Args:
        config: The model's config.json.
        settings: The run.
        validation_only: Whether to predict a validation of the training instead of its steps.
        times: How often it happens; None for as often as meets every timing.
        iterations: Iterations of a training, from 1, at which it happens; None for all.

    Raises:
        EstimateError: A field of the config or a setting that cannot be; it names the
            field, the value and what is allowed.
        UntraceableError: MLX cannot export this model, and nothing else estimates it.
        BlockedError: The backend cannot run it.
    """
    started = time.perf_counter()
    validation.check_settings(settings)
    validation.check_config(config, settings)
    run: Trace | None = trace.validation if validation_only else None
    if iterations is not None:
        run = partial(trace.training, iterations=iterations)
    with _uncollected():
        # Elsewhere than on the CPU, MLX would trace that machine's kernels, not the backend's.
        with mx.stream(mx.cpu):
            traced = traced_run.build(config, settings, run)
        backend_limits.check((step.graph for step in traced.steps), settings.backend)
        found = _simulated(traced, settings, times)
    shares = rules.ERROR if not (settings.inference or validation_only) else rules.GENERATION_ERROR
    low, high, warnings = _interval(found, shares[settings.backend], settings, traced)
    return Prediction(
        peak_bytes=found.peak_bytes,
        peak_low_bytes=low,
        peak_high_bytes=high,
        breakdown_bytes=found.parts.peak,
        parameters=traced.parameters,
        trainable_parameters=traced.trainable_parameters,
        weight_bytes=traced.weight_bytes,
        backend=settings.backend,
        settings=settings,
        warnings=(*traced.warnings, *warnings),
        timeline=found.parts.timeline,
        seconds=time.perf_counter() - started,
        costs=found.costs,
    )


@dataclass(frozen=True, slots=True)
class _Simulated:
    """Figures of the step with the highest peak, and the peaks of two extreme timings."""

    peak_bytes: int
    lowest_bytes: int
    highest_bytes: int
    parts: Breakdown
    costs: Costs


def _simulated(traced: TracedRun, settings: Settings, times: int | None) -> _Simulated:
    """Return the figures of the steps; those with loops that were cut short are continued."""
    if traced.longer is None:
        one = simulation.highest(traced.steps, settings.backend, times)
        peaks = (one.replay.peak_bytes, one.lowest_bytes, one.highest_bytes)
        return _Simulated(*peaks, *_accounts(one, traced, settings))
    two = continuation.highest(traced.steps, traced.longer, settings.backend, times)
    short, long = (_accounts(each, traced, settings) for each in (two.short, two.long))
    return _Simulated(
        two.peak_bytes,
        two.lowest_bytes,
        two.highest_bytes,
        short[0].continued(long[0], two.share, two.peak_bytes),
        short[1].continued(long[1], two.share),
    )


def _accounts(
    found: SimulatedStep, traced: TracedRun, settings: Settings
) -> tuple[Breakdown, Costs]:
    parts = breakdown(found, traced.vocabulary, traced.trained_shapes)
    return parts, costs.of(found.graph, settings.batch_size, found.step.queries)


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
    """Yield the differences between MLX here and the one that the rules were checked against."""
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
    found: _Simulated,
    shares: tuple[float, float],
    settings: Settings,
    traced: TracedRun,
) -> tuple[int, int, list[str]]:
    """Return the ends of the interval and what made it wider.

    Args:
        found: The step with the highest peak.
        shares: Errors below and above, as `rules` has them.
        settings: The run.
        traced: Its model and steps.
    """
    warnings = list(_unchecked())
    lowest = found.lowest_bytes
    under, over = shares
    for _ in warnings:
        under, over = under * rules.WIDER, over * rules.WIDER
    if settings.dropout or settings.fine_tune_type != "lora":
        under += rules.SELDOM_MEASURED
    if traced.longer is not None:
        under, over = under + rules.CONTINUED, over + rules.CONTINUED
    if settings.backend == "cuda" and not settings.inference:
        lowest -= found.parts.peak["attention scores"]
        warnings.append(
            "backend is cuda: cuDNN's attention keeps no scores for the backward pass, so a "
            "measured peak is lower than this one, which counts them"
        )
    high = found.highest_bytes * (1 + over)
    if settings.backend == "cpu":
        high += rules.REUSED * traced.reusable_bytes
    return int(lowest * (1 - under)), int(high), warnings
