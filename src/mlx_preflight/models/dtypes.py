"""Types of a checkpoint's tensors: what is stored, which config.json need not say.

mlx_lm (0.32) loads the bytes as they are and reads neither `dtype` nor `torch_dtype`; its
own `convert --dtype` leaves them as they were. So another float type is reported, not refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

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

COMPUTED = ("BF16", "F16", "F32")
"""Floats in which mlx computes on every device: it has no float64 on a GPU, and reads floats
of eight bits as bytes (mlx 0.32)."""


def check_dtypes(cp: Checkpoint) -> list[str]:
    """Name tensors of a type that cannot be weights, and note what differs from config.json.

    Args:
        cp: A checkpoint from `inspect`.

    Returns:
        One sentence for each problem; those that begin with "Noted" or "Not checked" are none.
    """
    if cp.foreign_quantization:
        method = cp.foreign_quantization  # (as it is printed)
        return [f"Not checked: the dtypes of quantization method {method} are not known."]
    plain = [tensor for tensor in cp.tensors.values() if not is_packed(cp, tensor)]
    return [*_unusable(plain), *_undeclared(cp, plain), *_unpacked(cp)]


def stored_dtype(cp: Checkpoint) -> str | None:
    """Return the type, as mlx names it, of most values that are not quantized words.

    It is what mlx_lm computes in. None where nothing is stored in a type that it computes in.
    """
    names = {dtype: name for name, dtype in CONFIG_DTYPES.items()}
    counted: Counter[str] = Counter()
    for tensor in cp.tensors.values():
        if tensor.dtype in COMPUTED:
            counted[names[tensor.dtype]] += tensor.elements
    return counted.most_common(1)[0][0] if counted else None


def declared(config: Mapping[str, Any]) -> object:
    """Return what a config says of its weights' type, of the language model's where it sees."""
    text = config.get("text_config")
    parts = [config, text] if isinstance(text, Mapping) else [config]
    names = (part.get(name) for part in parts for name in ("dtype", "torch_dtype"))
    return next((name for name in names if name is not None), None)


def is_unpacked(cp: Checkpoint) -> bool:
    """Return whether mlx's own quantization is declared and no tensor is quantized."""
    return cp.quantization is not None and not any(x.endswith(".scales") for x in cp.tensors)


def is_packed(cp: Checkpoint, tensor: TensorHeader) -> bool:
    """Return whether a tensor is a quantized module's words, or its scales of one byte."""
    module, _, leaf = tensor.name.rpartition(".")
    if (leaf, tensor.dtype) == ("weight", "U8") and f"{module}.weight_scale" in cp.tensors:
        return True  # (the words of mlx_lm's BitLinear)
    packed = cp.quantization.of(module) if cp.quantization else None
    if packed is None or f"{module}.scales" not in cp.tensors:
        return False
    return (leaf, tensor.dtype) in {("weight", "U32"), ("scales", "U8")}


def _unusable(plain: list[TensorHeader]) -> Iterator[str]:
    """Yield what no layer can compute with; integers beside the weights are tables."""
    wrong: dict[str, list[str]] = {}
    for tensor in plain:
        a_float = "F" in tensor.dtype
        if tensor.dtype not in COMPUTED and (a_float or tensor.name.endswith(".weight")):
            wrong.setdefault(tensor.dtype, []).append(tensor.name)
    for dtype, names in sorted(wrong.items()):
        yield (
            f"{len(names)} tensors are {dtype}, for example {printable(names[0])}; "
            f"{', '.join(COMPUTED)} are expected, or packed words that config.json declares."
        )


def _undeclared(cp: Checkpoint, plain: list[TensorHeader]) -> Iterator[str]:
    """Yield a note where the floats are of another type than config.json says."""
    said = declared(cp.config)
    name = said.removeprefix("torch.") if isinstance(said, str) else ""
    counted = Counter(tensor.dtype for tensor in plain if tensor.dtype in COMPUTED)
    others = [(dtype, n) for dtype, n in counted.most_common() if dtype != CONFIG_DTYPES.get(name)]
    norms = all("norm" in x.name for x in plain if x.dtype in dict(others))
    if said is None or not others or (norms and name in CONFIG_DTYPES):
        return
    seen = ", ".join(f"{n} of {len(plain)} tensors are {dtype}" for dtype, n in others)
    yield f"Noted: config.json says dtype {printable(said)}, and {seen}: mlx-lm loads these."


def _unpacked(cp: Checkpoint) -> Iterator[str]:
    """Yield that a quantization is declared of which no tensor is there."""
    if cp.quantization and is_unpacked(cp):
        yield (
            f"config.json declares a quantization to {cp.quantization.bits} bits, and no tensor "
            f"is quantized: the weights are {stored_dtype(cp) or 'of no known type'}, and would "
            "be trained and counted as such."
        )
