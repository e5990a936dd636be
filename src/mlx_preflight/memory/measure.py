"""Peak memory of a run, measured in a fresh child process."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mlx_preflight.core import child
from mlx_preflight.memory.settings import Settings, in_words


@dataclass(frozen=True, slots=True)
class Measured:
    """Memory and time of one run.

    Attributes:
        peak_bytes: Largest active memory of the run (`mx.get_peak_memory`).
        cache_bytes: Freed memory that MLX kept for reuse at the end.
        process_peak_bytes: Peak resident memory of the whole process.
        step_s: Seconds of every training step, or of every generated token.
        tokens_per_s: Tokens trained or generated per second, the first step left out.
        before_bytes: Active memory before the first step: the loaded model.
    """

    peak_bytes: int
    cache_bytes: int
    process_peak_bytes: int
    step_s: tuple[float, ...]
    tokens_per_s: float
    before_bytes: int


FREE_SHARE = 0.9
"""Of the free memory, what a run may take before it is killed."""


def _free_bytes() -> int:
    return int(psutil.virtual_memory().available * FREE_SHARE)


def measure(
    config: Mapping[str, Any],
    settings: Settings,
    *,
    steps: int = 3,
    seed: int = 0,
    timeout_s: float = 900,
    memory_limit_bytes: int | None = None,
    weights: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Measured:
    """Run MLX-LM's trainer, or its generator, in a fresh process and return memory and time.

    The peak is reset after loading and every batch is as long as the settings allow, so the
    longest row comes first.

    Args:
        config: The model's config.json.
        settings: The run, on this machine's backend.
        steps: Training steps; the timing of the worker, and the peak with it, differs among them.
        seed: Of the random weights.
        timeout_s: After which the child is killed.
        memory_limit_bytes: Memory that the child may take; None for `FREE_SHARE` of what is
            free now, so that the machine survives.
        weights: Folder of real weights; None draws random ones.
        env: Added to the child's environment.

    Raises:
        ChildError: The child died, was killed or gave no answer; the message has the cause.
    """
    job = {
        "config": json.dumps(dict(config)),  # (as text: it may hold infinities)
        "settings": dataclasses.asdict(settings),
        "steps": steps,
        "seed": seed,
        "memory_limit_bytes": memory_limit_bytes or _free_bytes(),
        "weights": str(weights.resolve()) if weights else None,
    }
    value = child.call(
        "mlx_preflight.memory.measure_child",
        job,
        timeout_s=timeout_s,
        label=f"measuring {config.get('model_type')}, {in_words(settings)}",
        env=child.offline_environment(env),
    ).value
    return Measured(**{**value, "step_s": tuple(value["step_s"])})
