"""The quantization that a checkpoint's config.json declares, as mlx_lm loads it.

Checking a checkpoint's files and predicting its memory both read it here. No tensor is read
and mlx is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from mlx_preflight.core.errors import EstimateError

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
"""Values that a layer's own entry need not hold (mlx/nn/layers/quantized.py 0.32)."""

DETAILS = {
    "awq": ("bits",),
    "gptq": ("bits",),
    "fp8": ("weight_block_size", "scale_fmt"),
    "compressed-tensors": ("format",),
    "modelopt": ("quant_algo",),
}
"""Methods of other libraries, and the fields that say which of their forms it is."""

PACKED = "compressed-tensors pack-quantized"
"""Integers in groups, whose bits and size mlx_lm reads off the weights (`infer_quant_config`)."""

FOREIGN = {
    "mxfp4": (4, 32, "mxfp4"),
    "mxfp8": (8, 32, "mxfp8"),
    "fp8 [32, 32] ue8m0": (8, 32, "mxfp8"),
    "compressed-tensors mxfp4-pack-quantized": (4, 32, "mxfp4"),
    "compressed-tensors nvfp4-pack-quantized": (4, 16, "nvfp4"),
    PACKED: (4, 32, "affine"),
    "modelopt NVFP4": (4, 16, "nvfp4"),
}
"""What mlx_lm makes of them (mlx_lm/utils.py 0.32, `load_model`), beside 4-bit awq and gptq."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Format of a checkpoint's weights, or of one layer's.

    Attributes:
        bits: Of the weights.
        group_size: Weights that share a scale.
        mode: affine, mxfp4, mxfp8 or nvfp4; only affine has group biases.
        layers: What mlx_lm's config says of single layers: their own bits, true or false.
        left: Patterns of layers that another library left as they were; None for MLX's own.
    """

    bits: int
    group_size: int
    mode: str = "affine"
    layers: Mapping[str, Any] = field(default_factory=dict)
    left: tuple[str, ...] | None = None

    def matches(self, bits: int | None, group_size: int) -> bool:
        """Return whether a run asks for the weights as they are stored."""
        return (bits, group_size) == (self.bits, self.group_size)

    def of(self, module: str) -> Quantization | None:
        """Return the format of one module; None for one that is left unquantized.

        A module's own entry stands alone, completed by MLX's defaults of its mode and not by
        the model's entry: mlx_lm hands it to `to_quantized` as it is.
        """
        entry = self.layers.get(module, True)
        if not isinstance(entry, Mapping):
            return self if entry else None
        whole = completed(entry)
        return Quantization(whole["bits"], whole["group_size"], whole["mode"])

    def leaves_out(self, module: str) -> bool:
        """Return whether another library left a module unquantized: an end, or a named one."""
        if self.left is None:
            return False
        if module.endswith(("embed_tokens", "lm_head")):
            return True
        return any(
            (
                re.match(name[3:], module) is not None
                if name.startswith("re:")
                else fnmatch(module, name) or fnmatch(module, f"{name}.*")
            )
            for name in self.left
        )


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """Return how a checkpoint's weights are stored; None for unquantized ones.

    Raises:
        EstimateError: Fields that MLX cannot quantize by, or a method that mlx_lm cannot read.
    """
    foreign = foreign_entry(config)
    return own_quantization(config) if foreign is None else _foreign(foreign)


def own_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """Return MLX's own quantization; None for none, and for another library's.

    Raises:
        EstimateError: Fields that MLX cannot quantize by.
    """
    own = config.get("quantization")
    if own is None:
        return None
    if not isinstance(own, Mapping):
        raise EstimateError("quantization", own, "an object with bits and group_size")
    layers = {name: value for name, value in own.items() if isinstance(value, Mapping | bool)}
    _check("quantization", own)
    for name, part in layers.items():
        if isinstance(part, Mapping):
            _check(name, completed(part))
    return Quantization(own["bits"], own["group_size"], own.get("mode", "affine"), layers)


def foreign_entry(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return another library's `quantization_config`; None where mlx_lm reads none.

    Raises:
        EstimateError: It is no object.
    """
    if config.get("quantization") is not None:
        return None
    text = config.get("text_config")
    inner = text.get("quantization_config") if isinstance(text, Mapping) else None
    given = config.get("quantization_config", inner)
    if given is None or isinstance(given, Mapping):
        return given or None
    raise EstimateError("quantization_config", given, "an object with quant_method")


def completed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's entry with the defaults of its mode."""
    mode = entry.get("mode", "affine")
    known = DEFAULTS.get(mode, {}) if isinstance(mode, str) else {}
    return {"mode": mode, **known, **entry}


def _check(name: str, part: Mapping[str, Any]) -> None:
    mode = part.get("mode", "affine")
    if not isinstance(mode, str) or mode not in MODES:
        raise EstimateError(f"mode of {name}", mode, ", ".join(MODES))
    for key, allowed in zip(("bits", "group_size"), MODES[mode], strict=True):
        value = part.get(key)
        if type(value) is not int or value not in allowed:
            words = ", ".join(map(str, allowed))
            raise EstimateError(f"{key} of {name}", value, f"{words} (mode {mode})")


def _packed(given: Mapping[str, Any], bits: int, group: int) -> tuple[int, int]:
    """Return bits and group size that the groups of compressed-tensors declare.

    Args:
        given: The `quantization_config`.
        bits: Where no group says it.
        group: Likewise.

    Raises:
        EstimateError: Groups that differ, or that MLX cannot quantize by.
    """
    groups = given.get("config_groups")
    parts = list(groups.values()) if isinstance(groups, Mapping) else []
    weights = [part.get("weights") for part in parts if isinstance(part, Mapping)]
    found = {
        (entry.get("num_bits"), entry.get("group_size"))
        for entry in weights
        if isinstance(entry, Mapping)
    }
    if len(found) > 1:
        raise EstimateError("config_groups", sorted(found, key=str), "groups of the same weights")
    declared: tuple[Any, Any] = next(iter(found), (bits, group))
    _check("config_groups", {"bits": declared[0], "group_size": declared[1]})
    return declared


def _foreign(given: Mapping[str, Any]) -> Quantization | None:
    """Return what mlx_lm makes of the weights of another library."""
    method = str(given.get("quant_method"))
    details = [str(given[key]) for key in DETAILS.get(method, ()) if given.get(key) is not None]
    kind = " ".join([method, *details])
    if kind in {"awq 4", "gptq 4"}:
        bits, group, mode = 4, given.get("group_size", 128), "affine"
        _check("quantization_config", {"bits": bits, "group_size": group})
    elif kind in FOREIGN:
        bits, group, mode = FOREIGN[kind]
        if kind == PACKED:
            bits, group = _packed(given, bits, group)
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
    return Quantization(
        bits, group, mode, left=tuple(str(name) for part in patterns for name in part)
    )
