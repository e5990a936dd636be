"""Scan of the stored values of a checkpoint for NaN, infinity and tensors of zeros.

Every float is judged by its bits, so that BF16 and the 8-bit floats, which numpy does
not know, need no conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from mlx_preflight.core.errors import CheckpointError, EstimateError
from mlx_preflight.models.files import DOWNLOAD_AGAIN, confined, open_regular
from mlx_preflight.models.layout import Checkpoint
from mlx_preflight.models.quantization import read_quantization
from mlx_preflight.models.safetensors_header import TensorHeader

CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes read at a time; the masks of one chunk triple it, which stays under 64 MB."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Bits of a dtype that mean NaN or infinity.

    Attributes:
        words: numpy's little-endian unsigned type of the same width.
        mask: Bits that decide.
        nonfinite: Their value in a NaN or an infinity.
        magnitude: All bits but the sign; none is set in a zero.
    """

    words: str
    mask: int
    nonfinite: int
    magnitude: int


PATTERNS = {
    "F64": _Pattern("<u8", 0x7FF0_0000_0000_0000, 0x7FF0_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF),
    "F32": _Pattern("<u4", 0x7F80_0000, 0x7F80_0000, 0x7FFF_FFFF),
    "C64": _Pattern("<u4", 0x7F80_0000, 0x7F80_0000, 0x7FFF_FFFF),
    "F16": _Pattern("<u2", 0x7C00, 0x7C00, 0x7FFF),
    "BF16": _Pattern("<u2", 0x7F80, 0x7F80, 0x7FFF),
    "F8_E5M2": _Pattern("u1", 0x7C, 0x7C, 0x7F),
    "F8_E4M3": _Pattern("u1", 0x7F, 0x7F, 0x7F),
    "F8_E4M3FNUZ": _Pattern("u1", 0xFF, 0x80, 0xFF),
    "F8_E5M2FNUZ": _Pattern("u1", 0xFF, 0x80, 0xFF),
    "F8_E8M0": _Pattern("u1", 0xFF, 0xFF, 0x00),
}
"""IEEE 754 for the wide floats, the OCP 8-bit formats (E4M3 has NaN but no infinity, E8M0 is
a bare exponent without zero), and FNUZ, whose only NaN is the bits of a negative zero."""

BYTE_SCALES = {"mxfp4": "F8_E8M0", "mxfp8": "F8_E8M0", "nvfp4": "F8_E4M3"}
"""Float that mlx stores as a byte in the scales of a mode (mlx/ops.cpp 0.32)."""

SCALE_NAMES = (".scales", "_scales", ".weight_scale")
"""Ends of their names: mlx's, those of openai/gpt-oss, and those of compressed-tensors."""


@dataclass(frozen=True, slots=True)
class ValueCheck:
    """Findings of the scan of all float tensors.

    Attributes:
        tensors: Float tensors scanned; 0 means that nothing was checked.
        elements: Their elements.
        nonfinite: NaN and infinite elements of each tensor that has any.
        all_zero: Tensors without one nonzero element. A bias is left out (`.bias`, `dt_bias`,
            `e_score_correction_bias`): zero is what it is initialised with.
    """

    tensors: int
    elements: int
    nonfinite: dict[str, int]
    all_zero: tuple[str, ...]


def check_values(cp: Checkpoint, progress: Callable[[int, int], None] | None = None) -> ValueCheck:
    """Scan every float tensor of a checkpoint.

    Packed words and other integers hold no float and are skipped, as are the 4-bit and
    6-bit floats, which have neither NaN nor infinity. Scales of one byte are floats.

    Args:
        cp: A checkpoint from `inspect`.
        progress: Called with the bytes read and the bytes to read.

    Raises:
        CheckpointError: A weights file cannot be read, or is shorter than it was.
    """
    floats = {
        tensor: pattern
        for tensor in cp.tensors.values()
        if (pattern := _pattern(cp, tensor)) is not None
    }
    total = sum(tensor.nbytes for tensor in floats)
    nonfinite: dict[str, int] = {}
    all_zero: list[str] = []
    done = 0
    for file in sorted({tensor.file for tensor in floats}):
        with open_regular(confined(cp.folder, file)) as stream:
            for tensor in sorted(
                (tensor for tensor in floats if tensor.file == file), key=lambda item: item.begin
            ):
                bad, zero = _scan(stream, tensor, floats[tensor])
                if bad:
                    nonfinite[tensor.name] = bad
                if zero and not tensor.name.endswith("bias"):
                    all_zero.append(tensor.name)
                done += tensor.nbytes
                if progress is not None:
                    progress(done, total)
    elements = sum(tensor.elements for tensor in floats)
    return ValueCheck(len(floats), elements, nonfinite, tuple(sorted(all_zero)))


def _pattern(cp: Checkpoint, tensor: TensorHeader) -> _Pattern | None:
    """Return the bits of a tensor's floats; None for integers."""
    if tensor.dtype == "U8" and tensor.name.endswith(SCALE_NAMES):
        declared = BYTE_SCALES.get(_mode(cp, tensor.name.rpartition(".")[0]), "")
        # 2^-127 stands for zero in a format without one.
        found = PATTERNS.get(declared)
        return replace(found, magnitude=0xFF) if found and declared == "F8_E8M0" else found
    return PATTERNS.get(tensor.dtype)


def _mode(cp: Checkpoint, module: str) -> str:
    """Return the mode in which a module is quantized, by mlx or by another library."""
    try:
        whole = cp.quantization or read_quantization(cp.config)
    except EstimateError:  # another library's, which mlx_lm does not read
        return ""
    declared = whole.of(module) if whole else None
    return declared.mode if declared else ""


def _scan(stream: BinaryIO, tensor: TensorHeader, pattern: _Pattern) -> tuple[int, bool]:
    """Return how many elements are not finite, and whether there are only zeros."""
    import numpy as np  # noqa: PLC0415  (100 ms that reading headers need not pay)

    bad = 0
    # F8_E8M0 has no zero, and a tensor without elements is none of zeros.
    zero = pattern.magnitude != 0 and tensor.nbytes > 0
    for chunk in _chunks(stream, tensor):
        words: Any = np.frombuffer(chunk, dtype=pattern.words)
        bad += int(np.count_nonzero((words & pattern.mask) == pattern.nonfinite))
        zero = zero and not (words & pattern.magnitude).any()
    return bad, zero


def _chunks(stream: BinaryIO, tensor: TensorHeader) -> Iterator[bytes]:
    """Yield the bytes of one tensor, `CHUNK_BYTES` at a time."""
    stream.seek(tensor.begin)
    left = tensor.nbytes
    while left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if len(chunk) < min(left, CHUNK_BYTES):
            raise CheckpointError(
                f"{tensor.file}: ends inside tensor {tensor.name}, {left - len(chunk):,} bytes "
                "short: the file changed after its header was read.",
                hint=DOWNLOAD_AGAIN,
            )
        left -= len(chunk)
        yield chunk
