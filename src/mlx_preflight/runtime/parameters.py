"""Counts of a model's parameters and of those that its files hold, inside a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes

from mlx_preflight.models.weights import WEIGHTS_GLOB

OF_A_GROUP = frozenset({"scales", "biases", "global_scale"})
"""Arrays of a quantized layer that are no parameters of their own."""


def count(model: Any) -> int:
    """Return the parameters of a model; packed words count what they unpack to.

    `mlx_lm.utils.get_total_parameters` counts layers only and leaves out every array that
    belongs to none, such as the attention sinks of gpt-oss and the `A_log` of a Mamba.
    """
    return _count(model, dict(tree_flatten(model.parameters())))


def count_stored(model: Any, config: Mapping[str, Any], folder: Path) -> int | None:
    """Return how many parameters the files hold, of those that mlx_lm keeps of them.

    Its `sanitize` drops what a model does not use (rotary tables, a vision tower, layers that
    predict further tokens), and is asked of a model of its own: some change theirs in it.

    Args:
        model: The loaded model.
        config: Its config.
        folder: The checkpoint.

    Returns:
        None where mlx_lm repacks the words of another library after it, such as AWQ's.
    """
    arrays: dict[str, mx.array] = {}
    for file in sorted(folder.glob(WEIGHTS_GLOB)):
        held: Any = mx.load(str(file))
        arrays.update(held)
    model_class, args_class = _get_classes(dict(config))
    other = model_class(args_class.from_dict(dict(config)))
    kept = other.sanitize(arrays) if hasattr(other, "sanitize") else arrays
    loaded = dict(tree_flatten(model.parameters()))
    return _count(model, kept) if kept.keys() == loaded.keys() else None


def _count(model: Any, arrays: Mapping[str, mx.array]) -> int:
    bits = {
        name: module.bits
        for name, module in model.named_modules()
        if hasattr(module, "bits") and hasattr(module, "scales")
    }
    total = 0
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if module not in bits:
            total += array.size
        elif leaf not in OF_A_GROUP:
            # 32 / bits logical elements are in each word.
            total += array.size * 32 // bits[module] if leaf == "weight" else array.size
    return total
