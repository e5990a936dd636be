"""Measurement of this machine's speeds, checked by steps of slices of two built-in models.

It imports mlx; `calibration_file` keeps what it returns.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil

from mlx_preflight.core import environment
from mlx_preflight.core.errors import BlockedError
from mlx_preflight.memory import calibration
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.training import calibration_file, slice_runs, speed
from mlx_preflight.training.calibration_file import Calibration
from mlx_preflight.training.speed import Speed

KINDS: tuple[tuple[str, int | None], ...] = (
    *((dtype, None) for dtype in ("float32", "float16", "bfloat16")),
    *(("bfloat16", bits) for bits in (4, 8)),
    *(("float16", bits) for bits in (4, 8)),
    *(("float32", bits) for bits in (4, 8)),
)
"""Types and bits whose products are measured."""

MODELS: dict[str, tuple[int, ...]] = {
    "embedded": (32, 128, 512),
    "qwen2.5-coder-0.5b": (128,),
}
"""Built-in models of which slices are trained, and at which widths; in the small one calls and
copies count, in the other one products. A slow processor leaves the second one out."""

LEAST_FACTOR = 0.25
"""Share of what a part costs alone that it costs in a step at least: some overlap."""

FIGURE_S = 0.2
"""Seconds that one figure may take: 36 figures of products and two others."""

SLICES_S = 30.0
"""Seconds that the slices of one model may take."""


def calibrate(note: Callable[[str], None]) -> Calibration:
    """Measure this machine, in at most three minutes.

    Args:
        note: Told what runs.

    Raises:
        BlockedError: Not even slices of the first model can be trained in time.
        ChildError: A measurement failed; the message has the cause.
    """
    backend = calibration.backend()
    note("products and copies")
    found = speed.measure(backend, KINDS, seconds=FIGURE_S)
    free = psutil.virtual_memory().available // 2
    steps: dict[str, list[float]] = {}
    parts: list[tuple[float, tuple[float, ...]]] = []
    for name, widths in MODELS.items():
        config = source.find(name).config
        settings = Settings(
            batch_size=1,
            max_seq_length=max(widths),
            num_layers=4,
            bits=None,
            dtype="float32" if backend == "cpu" else "bfloat16",
            backend=backend,
        )
        try:
            trained = slice_runs.rehearse(
                config, settings, widths, [], budget_bytes=free, note=note, plan_s=SLICES_S
            )
        except BlockedError as error:
            if not parts:
                raise
            note(f"{name} is left out: {error}")
            continue
        for one, answer in zip(trained.slices, trained.answers, strict=True):
            costs = predict(one.config(config), one.settings(settings)).costs
            for width in widths:
                seconds = answer["widths"][str(width)]["seconds"][1:]
                steps[f"{name}, {one.blocks} blocks, {one.adapted} adapted, {width} tokens"] = (
                    seconds
                )
                told = found.parts(costs.at(width), settings.dtype, None)
                parts.append((statistics.median(seconds), told))
    return Calibration(
        backend=backend,
        machine=calibration_file.machine(),
        versions=environment.capture()["packages"],
        created=calibration_file.now(),
        speed=fitted(found, parts),
        steps=steps,
    )


def fitted(found: Speed, parts: Sequence[tuple[float, tuple[float, ...]]]) -> Speed:
    """Return speeds with which products, copies and calls add up to measured steps.

    Args:
        found: Speeds of each alone.
        parts: Seconds of a step, and what the speeds say of its parts (`Speed.parts`).
    """
    taken = np.array([seconds for seconds, _ in parts])
    told = np.array([part for _, part in parts]) / taken[:, None]
    low, high = calibration_file.FACTORS
    # What is not fitted costs in a step what it costs alone.
    choices = [(_missed(told, np.ones(told.shape[1])), (1.0,) * told.shape[1])]
    for count in range(1, told.shape[1] + 1):
        for kept in map(list, itertools.combinations(range(told.shape[1]), count)):
            factors = np.ones(told.shape[1])
            rest = 1 - np.delete(told, kept, axis=1).sum(axis=1)
            factors[kept] = np.linalg.lstsq(told[:, kept], rest, rcond=None)[0]
            if (factors >= LEAST_FACTOR).all() and (factors <= high).all():
                choices.append((_missed(told, factors), tuple(factors)))
    products, copies, calls = np.clip(min(choices)[1], low, high)
    return dataclasses.replace(
        found,
        factor=float(products),
        bytes_s=found.bytes_s * float(products / copies),
        kernel_s=found.kernel_s * float(calls / products),
    )


def _missed(told: Any, factors: Any) -> float:
    return float(np.abs(told @ factors - 1).sum())
