"""Child that reads the tensors of an adapter: `python -m … JOB ANSWER`.

The headers of all files were validated before. What it answers are names, shapes and norms.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

from mlx_preflight.core.child_main import run_job
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.text import one_line
from mlx_preflight.memory import adapters
from mlx_preflight.memory.measure_child import guard
from mlx_preflight.runtime.foreign import attempt


def look(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run must have trained, and what the file holds.

    Args:
        job: `file` of the adapters and its `folder`, `base` (folder), `config` of the base
            as text,
            `num_layers`, `parameters` (`lora_parameters`), `fine_tune_type` and
            `memory_limit_bytes`.

    Returns:
        `expected` shapes, or the `problem` that mlx_lm has with the settings; it is `unknown`
        where the config is one that cannot be counted here. `tensors` and `changes` by name.
    """
    guard(job["memory_limit_bytes"])
    expected = attempt(lambda: _expected(job))
    stored = _stored(job)
    shapes = {name: list(array.shape) for name, array in stored.items()}
    fits = not isinstance(expected, Exception) and expected["shapes"] == shapes
    problem = f"{type(expected).__name__}: {expected}" if isinstance(expected, Exception) else ""
    return {
        "problem": one_line(problem),
        "unknown": isinstance(expected, PreflightError),
        "expected": None if isinstance(expected, Exception) else expected,
        "tensors": {name: _statistics(array) for name, array in stored.items()},
        "changes": dict(_changes(job)) if fits else {},
    }


def _stored(job: Mapping[str, Any]) -> dict[str, mx.array]:
    stored: Any = mx.load(job["file"])
    return dict(stored)


def _expected(job: Mapping[str, Any]) -> dict[str, Any]:
    found = adapters.count(
        json.loads(job["config"]),
        num_layers=job["num_layers"],
        parameters=job["parameters"],
        fine_tune_type=job["fine_tune_type"],
    )
    return {
        "shapes": {name: list(shape) for name, shape in found.shapes.items()},
        "trainable": found.trainable_parameters,
        "layers": found.layers,
    }


def _statistics(array: mx.array) -> dict[str, Any]:
    """Return how many values are not finite, and whether all are zero."""
    finite: Any = mx.isfinite(array).sum().item()
    return {
        "nonfinite": array.size - finite,
        "zero": not bool(mx.any(array != 0).item()),
    }


def _changes(job: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield module or tensor, and by what share of its norm training changed it.

    None stands for a share that is not finite.
    """
    model, _ = load_model(Path(job["base"]), lazy=True)
    full = job["fine_tune_type"] == "full"
    before = dict(tree_flatten(model.parameters())) if full else {}
    load_adapters(model, job["folder"])
    if full:
        for name, array in _stored(job).items():
            yield name, _share(array, before[name])
        return
    for name, module in model.named_modules():
        if "lora_a" in module and hasattr(module, "fuse"):
            yield name, _share(*_weights(module))


def _weights(module: nn.Module) -> tuple[mx.array, mx.array]:
    """Return the weight of an adapted layer with its adapter and without, as mlx_lm fuses it."""
    scale = module.scale
    adapted = module.fuse(dequantize=True).weight
    module.scale = 0.0
    plain = module.fuse(dequantize=True).weight
    module.scale = scale
    return adapted, plain


def _share(after: mx.array, before: mx.array) -> float | None:
    new, old = after.astype(mx.float32), before.astype(mx.float32)
    size: Any = mx.linalg.norm(old).item()
    change: Any = mx.linalg.norm(new - old).item()
    share: float = change / size if size else math.inf if change else 0.0
    return share if math.isfinite(share) else None


if __name__ == "__main__":
    sys.exit(run_job(look, sys.argv[1:]))
