"""Measurement of this machine's speeds, checked by steps of slices of two built-in models.

It imports mlx; `calibration_file` keeps what it returns.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

import psutil

from mlx_preflight.core import environment
from mlx_preflight.core.errors import BlockedError
from mlx_preflight.memory import calibration
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.training import calibration_file, slice_runs, speed
from mlx_preflight.training.calibration_file import Calibration

KINDS: tuple[tuple[str, int | None], ...] = (
    *((dtype, None) for dtype in ("float32", "float16", "bfloat16")),
    *(("bfloat16", bits) for bits in (4, 8)),
    *(("float16", bits) for bits in (4, 8)),
    *(("float32", bits) for bits in (4, 8)),
)
"""Types and bits whose products are measured."""

MODELS = ("embedded", "qwen2.5-coder-0.5b")
"""Built-in models of which slices are trained; a slow processor leaves the second one out."""

FIGURE_S = 0.2
"""Seconds that one figure may take: 36 figures of products and two others."""

SLICES_S = 30.0
"""Seconds that the slices of one model may take."""

TOKENS = 128


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
    ratios: list[float] = []
    for name in MODELS:
        config = source.find(name).config
        settings = Settings(
            batch_size=1,
            max_seq_length=TOKENS,
            num_layers=4,
            bits=None,
            dtype="float32" if backend == "cpu" else "bfloat16",
            backend=backend,
        )
        try:
            trained = slice_runs.rehearse(
                config, settings, [TOKENS], [], budget_bytes=free, note=note, plan_s=SLICES_S
            )
        except BlockedError as error:
            if not ratios:
                raise
            note(f"{name} is left out: {error}")
            continue
        for one, answer in zip(trained.slices, trained.answers, strict=True):
            seconds = answer["widths"][str(TOKENS)]["seconds"][1:]
            steps[f"{name}, {one.blocks} blocks, {one.adapted} adapted"] = seconds
            costs = predict(one.config(config), one.settings(settings)).costs
            told = found.seconds(costs, settings.dtype, None)
            ratios.append(statistics.median(seconds) / told)
    low, high = calibration_file.FACTORS
    factor = min(max(statistics.median(ratios), low), high)
    return Calibration(
        backend=backend,
        machine=calibration_file.machine(),
        versions=environment.capture()["packages"],
        created=calibration_file.now(),
        speed=dataclasses.replace(found, factor=factor),
        steps=steps,
    )
