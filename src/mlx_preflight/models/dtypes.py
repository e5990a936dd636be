"""Comparison of the dtypes of a checkpoint's tensors with its config."""

from __future__ import annotations

from collections import Counter

from mlx_preflight.core.text import printable
from mlx_preflight.models.layout import Checkpoint
from mlx_preflight.models.safetensors_header import TensorHeader

CONFIG_DTYPES = {
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""Names of torch's dtypes in config.json, and the safetensors dtype of each."""


def check_dtypes(cp: Checkpoint) -> list[str]:
    """Compare every tensor's dtype with the config's `dtype` or `torch_dtype`.

    A norm may be F32 whatever the config says, and the words and scales of quantized
    modules are integers. A config that names no dtype is replaced by the most frequent
    float dtype.

    Args:
        cp: A checkpoint from `inspect`.

    Returns:
        One sentence for each wrong dtype, or why nothing could be compared.
    """
    if cp.foreign_quantization:
        method = cp.foreign_quantization  # (as it is printed)
        return [f"Not checked: the dtypes of quantization method {method} are not known."]
    plain = [tensor for tensor in cp.tensors.values() if not _is_packed(cp, tensor)]
    declared = cp.config.get("dtype", cp.config.get("torch_dtype"))
    if declared is None:
        floats = Counter(tensor.dtype for tensor in plain if "F" in tensor.dtype)
        wanted = floats.most_common(1)[0][0] if floats else "a float dtype"
        source = "config.json names no dtype, and most tensors are"
    elif isinstance(declared, str) and declared.removeprefix("torch.") in CONFIG_DTYPES:
        wanted = CONFIG_DTYPES[declared.removeprefix("torch.")]
        source = f"config.json says {declared}, which is"
    else:
        return [f"config.json says dtype {printable(declared)}, which is not a known float dtype."]
    wrong: dict[str, list[str]] = {}
    for tensor in plain:
        if tensor.dtype != wanted and not ("norm" in tensor.name and tensor.dtype == "F32"):
            wrong.setdefault(tensor.dtype, []).append(tensor.name)
    return [
        f"{source} {wanted}, but {len(names)} tensors are {dtype}, "
        f"for example {printable(names[0])}."
        for dtype, names in sorted(wrong.items())
    ]


def _is_packed(cp: Checkpoint, tensor: TensorHeader) -> bool:
    """Return whether a tensor is a quantized module's words, or its scales of one byte."""
    module, _, leaf = tensor.name.rpartition(".")
    declared = cp.quantization.of(module) if cp.quantization else None
    if declared is None or f"{module}.scales" not in cp.tensors:
        return False
    return (leaf, tensor.dtype) in {("weight", "U32"), ("scales", "U8")}
