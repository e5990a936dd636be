"""Read how a config says that its weights are quantized, and quantize a model so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from mlx_preflight.errors import EstimateError
from mlx_preflight.memory.settings import Settings

BITS = (2, 3, 4, 5, 6, 8)
"""Widths of `mx.quantize` in affine mode (mlx/ops.cpp 0.32)."""

GROUPS = (32, 64, 128)
"""Group sizes of the same."""

MODES = {
    "affine": (BITS, GROUPS),
    "mxfp4": ((4,), (32,)),
    "mxfp8": ((8,), (32,)),
    "nvfp4": ((4,), (16,)),
}
"""Bits and group sizes of every mode of `mx.quantize` (mlx/ops.cpp 0.32)."""

DEFAULTS: dict[Any, dict[str, int]] = {
    "affine": {"bits": 4, "group_size": 64},
    "mxfp4": {"bits": 4, "group_size": 32},
    "mxfp8": {"bits": 8, "group_size": 32},
    "nvfp4": {"bits": 4, "group_size": 16},
}
"""What a layer's own entry need not say (mlx/nn/layers/quantized.py 0.32)."""

DETAILS = {
    "awq": "bits",
    "gptq": "bits",
    "fp8": "weight_block_size",
    "compressed-tensors": "format",
    "modelopt": "quant_algo",
}
"""Methods of other libraries, and the field that says which of their forms it is."""

FOREIGN = {
    "mxfp4": (4, 32, "mxfp4"),
    "mxfp8": (8, 32, "mxfp8"),
    "fp8 [32, 32]": (8, 32, "mxfp8"),
    "compressed-tensors mxfp4-pack-quantized": (4, 32, "mxfp4"),
    "compressed-tensors nvfp4-pack-quantized": (4, 16, "nvfp4"),
    "compressed-tensors pack-quantized": (4, 32, "affine"),
    "modelopt NVFP4": (4, 16, "nvfp4"),
}
"""What mlx_lm makes of them (mlx_lm/utils.py 0.32, `load_model`), beside 4-bit awq and gptq."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Hold how a checkpoint's weights are quantized.

    Attributes:
        bits: Of the weights.
        group_size: Weights that share a scale.
        mode: affine, mxfp4, mxfp8 or nvfp4.
        layers: What mlx_lm's config says of single layers: their own bits, or False.
        left: Patterns of layers that another library left as they were; None for MLX's own.
    """

    bits: int
    group_size: int
    mode: str = "affine"
    layers: Mapping[str, Any] | None = None
    left: tuple[str, ...] | None = None

    def fits(self, settings: Settings) -> bool:
        """Return whether the settings ask for the weights as they are stored."""
        return (settings.bits, settings.group_size) == (self.bits, self.group_size)


def stored(config: Mapping[str, Any]) -> Stored | None:
    """Return how the weights are stored; None for unquantized ones.

    Raises:
        EstimateError: Fields that MLX cannot quantize by, or a method that mlx_lm cannot read.
    """
    own = config.get("quantization")
    if own is None:
        return _foreign(config)
    if not isinstance(own, Mapping):
        raise EstimateError("quantization", own, "an object with bits and group_size")
    layers = {name: value for name, value in own.items() if isinstance(value, Mapping | bool)}
    _check("quantization", own)
    for name, part in layers.items():
        if isinstance(part, Mapping):
            _check(name, {**DEFAULTS.get(part.get("mode", "affine"), {}), **part})
    return Stored(own["bits"], own["group_size"], own.get("mode", "affine"), layers)


def _check(name: str, part: Mapping[str, Any]) -> None:
    mode = part.get("mode", "affine")
    if mode not in MODES:
        raise EstimateError(f"mode of {name}", mode, ", ".join(MODES))
    for field, allowed in zip(("bits", "group_size"), MODES[mode], strict=True):
        value = part.get(field)
        if type(value) is not int or value not in allowed:
            words = ", ".join(map(str, allowed))
            raise EstimateError(f"{field} of {name}", value, f"{words} (mode {mode})")


def _foreign(config: Mapping[str, Any]) -> Stored | None:
    """Return what mlx_lm makes of the weights of another library."""
    text = config.get("text_config")
    inner = text.get("quantization_config") if isinstance(text, Mapping) else None
    given = config.get("quantization_config", inner)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise EstimateError("quantization_config", given, "an object with quant_method")
    method = str(given.get("quant_method"))
    kind = f"{method} {given.get(DETAILS[method])}" if method in DETAILS else method
    if kind in {"awq 4", "gptq 4"}:
        bits, group, mode = 4, given.get("group_size", 128), "affine"
        _check("quantization_config", {"bits": bits, "group_size": group})
    elif kind in FOREIGN:
        bits, group, mode = FOREIGN[kind]
    elif method == "fp8":
        return None  # mlx_lm makes bfloat16 of any other
    else:
        allowed = ", ".join([*FOREIGN, "awq 4", "gptq 4", "fp8"])
        raise EstimateError(
            "quantization_config",
            kind,
            f"what mlx_lm loads: {allowed}",
            hint="name the unquantized model instead",
        )
    patterns = [given.get(name) or () for name in ("modules_to_not_convert", "ignore")]
    return Stored(bits, group, mode, left=tuple(str(name) for part in patterns for name in part))


def quantize(model: Any, config: Mapping[str, Any], settings: Settings) -> None:
    """Quantize as the checkpoint is stored, or else as `mlx_lm.convert` does.

    Args:
        model: A lazy model without adapters.
        config: Its config.json.
        settings: Bits and group size; no bits leave the model as it is.
    """
    from mlx import nn  # noqa: PLC0415

    if not settings.bits:
        return
    found = stored(config)
    mode = found.mode if found and found.fits(settings) else "affine"
    nn.quantize(
        model,
        settings.group_size,
        settings.bits,
        mode=mode,
        class_predicate=_predicate(model, found, settings),
    )


def _predicate(
    model: Any, found: Stored | None, settings: Settings
) -> Callable[[str, Any], bool | dict[str, Any]]:
    """Return what says of a layer whether, or how, it is quantized."""
    kept = found is not None and found.fits(settings)
    layers = (found.layers if found and kept else None) or {}
    # A checkpoint of mlx_lm's does not name the layers that the model itself leaves out.
    own = getattr(model, "quant_predicate", None)

    def wanted(path: str, module: Any) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized"):
            return False
        if path in layers:
            said = layers[path]
            return dict(said) if isinstance(said, Mapping) else bool(said)
        if module.weight.shape[-1] % settings.group_size:
            return False
        if found and kept and found.left is not None and _left(path, found.left):
            return False
        return own(path, module) if own is not None else True

    return wanted


def _left(path: str, patterns: tuple[str, ...]) -> bool:
    """Return whether another library left a layer unquantized: ends of the model, or named."""
    if path.endswith(("embed_tokens", "lm_head")):
        return True
    return any(
        (
            re.match(name[3:], path) is not None
            if name.startswith("re:")
            else fnmatch(path, name) or fnmatch(path, f"{name}.*")
        )
        for name in patterns
    )


def warnings(model: Any, config: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield what a reader would not expect of the quantization.

    Args:
        model: The lazy, unquantized model.
        config: Its config.json.
        settings: The run.
    """
    found = stored(config)
    if found is None:
        return
    if not found.fits(settings):
        asked = f"{settings.bits} bits" if settings.bits else "unquantized weights"
        yield (
            f"the checkpoint stores {found.bits} bits in groups of {found.group_size}; with "
            f"{asked} in groups of {settings.group_size} it would have to be converted anew"
        )
    elif found.left is not None:
        yield (
            "which layers another library left unquantized is only known from the weights: "
            "taken are embeddings, head and what quantization_config names"
        )
    paths = {path for path, _ in model.named_modules()}
    parts = [name for name, said in (found.layers or {}).items() if isinstance(said, Mapping)]
    if strange := [name for name in parts if name not in paths]:
        yield (
            f"quantization names {len(strange)} layers that mlx_lm's model does not have, such as "
            f"{strange[0]}: ignored"
        )
