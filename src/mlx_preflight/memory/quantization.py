"""Quantization of a lazy model, as its checkpoint is stored or else as mlx_lm converts it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlx import nn

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models.quantization import Quantization, foreign_entry, read_quantization

FROM_FP8 = "from_fp8"
"""Function of mlx (0.32) in the source of the model files that read any fp8."""


def quantize(model: Any, config: Mapping[str, Any], settings: Settings) -> None:
    """Quantize as the checkpoint is stored, or else as `mlx_lm.convert` does.

    Args:
        model: A lazy model without adapters.
        config: Its config.json.
        settings: Bits and group size; no bits leave the model as it is.
    """
    if not settings.bits:
        return
    stored = read_quantization(config)
    if stored is not None and not stored.matches(settings.bits, settings.group_size):
        stored = None
    nn.quantize(
        model,
        settings.group_size,
        settings.bits,
        mode=stored.mode if stored else "affine",
        class_predicate=_predicate(model, stored, settings.group_size),
    )


def _predicate(
    model: Any, stored: Quantization | None, group_size: int
) -> Callable[[str, Any], bool | dict[str, Any]]:
    """Return what says of a layer whether, or how, it is quantized."""
    layers = stored.layers if stored else {}
    # A checkpoint of mlx_lm's does not name the layers that the model itself leaves out.
    own = getattr(model, "quant_predicate", None)

    def wanted(path: str, module: Any) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized"):
            return False
        if path in layers:
            entry = layers[path]
            return dict(entry) if isinstance(entry, Mapping) else bool(entry)
        if module.weight.shape[-1] % group_size:
            return False
        if stored is not None and stored.leaves_out(path):
            return False
        return own(path, module) if own is not None else True

    return wanted


def check_fp8(model: Any, config: Mapping[str, Any]) -> None:
    """Refuse 8-bit floats that mlx_lm would take for weights of another name.

    It reads powers of two as scales of blocks of 32 (mlx_lm/utils.py 0.32, `load_model`); of any
    other form only some model files make bfloat16 in their `sanitize`, by `mx.from_fp8`.

    Args:
        model: The lazy model.
        config: Its config.json.

    Raises:
        EstimateError: Such a config of a model that does not.
    """
    given = foreign_entry(config)
    if given is None or given.get("quant_method") != "fp8" or read_quantization(config):
        return
    parts = (model, getattr(model, "language_model", model))
    files = [sys.modules[type(part).__module__] for part in parts]
    if not any(FROM_FP8 in inspect.getsource(file) for file in files):
        blocks = given.get("weight_block_size")
        raise EstimateError(
            "quantization_config",
            f"fp8, weight_block_size {blocks}, scale_fmt {given.get('scale_fmt')}",
            f"what mlx_lm reads for {config['model_type']}: weight_block_size [32, 32] with "
            "scale_fmt ue8m0",
            hint="name the unquantized model, or one that mlx_lm.convert has written",
        )


def warnings(model: Any, config: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield what a reader would not expect of the quantization.

    Args:
        model: The lazy, unquantized model.
        config: Its config.json.
        settings: The run.
    """
    stored = read_quantization(config)
    if stored is None:
        if (foreign_entry(config) or {}).get("quant_method") == "fp8":
            yield "the checkpoint stores fp8, which mlx_lm makes bfloat16 of when it loads it"
        return
    if not stored.matches(settings.bits, settings.group_size):
        asked = f"{settings.bits} bits" if settings.bits else "unquantized weights"
        yield (
            f"the checkpoint stores {stored.bits} bits in groups of {stored.group_size}; with "
            f"{asked} in groups of {settings.group_size} it would have to be converted again"
        )
    elif stored.left is not None:
        yield (
            "which layers another library left unquantized is only known from the weights: "
            "taken are embeddings, head and what quantization_config names"
        )
    paths = {path for path, _ in model.named_modules()}
    parts = [name for name, entry in stored.layers.items() if isinstance(entry, Mapping)]
    if strange := [name for name in parts if name not in paths]:
        yield (
            f"quantization names {len(strange)} layers that mlx_lm's model does not have, such as "
            f"{strange[0]}: ignored"
        )
