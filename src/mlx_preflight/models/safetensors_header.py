"""The header of an untrusted safetensors file, read without touching its tensors.

The rules are those of the safetensors library (`SafeTensors::read_metadata` and
`Metadata::validate`), checked with unbounded integers before anything is allocated.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.core.text import printable
from mlx_preflight.models.files import DOWNLOAD_AGAIN, open_regular, parse_object

LENGTH_BYTES = 8
"""The file begins with the header's length, little-endian."""

MAX_HEADER_BYTES = 100_000_000
"""`MAX_HEADER_SIZE` of the safetensors library."""

MAX_NAME_CHARACTERS = 1024
"""Published tensor names stay under 150 characters."""

MAX_RANK = 64
"""Dimensions that a numpy array can have."""

MAX_DIMENSION = 2**63
"""No array library indexes a dimension of this size."""

OFFSETS = 2
"""`data_offsets` holds the begin and the end, counted from the end of the header."""

DTYPE_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits per element of each dtype, as `Dtype::bitsize` of the safetensors library."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor of a safetensors file.

    Attributes:
        name: The tensor's name.
        dtype: A key of `DTYPE_BITS`.
        shape: Its dimensions; empty for a scalar.
        file: Name of the file that holds it, without a folder.
        begin: Offset of its first byte from the beginning of that file.
        end: Offset after its last byte, likewise.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """Return the product of the dimensions; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the bytes that the tensor takes in the file."""
        return self.end - self.begin


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Read and validate the header of one safetensors file.

    Args:
        path: The file; its tensors are not read.

    Returns:
        Each tensor by name, in the order of the file's bytes.

    Raises:
        CheckpointError: The file cannot be opened, is truncated, or breaks the format.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        raw = _header_bytes(stream, size, path)
    entries = parse_object(raw, f"{path} (safetensors header)", unique=True)
    _check_metadata(entries.pop("__metadata__", {}), path)
    start = LENGTH_BYTES + len(raw)
    tensors = [_tensor(name, entry, path, start) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    _check_cover(tensors, start, size, path)
    return {tensor.name: tensor for tensor in tensors}


def _header_bytes(stream: BinaryIO, size: int, path: Path) -> bytes:
    """Return the header's JSON; its length is checked before it is read."""
    if size == 0:
        raise CheckpointError(f"{path}: is empty (0 bytes).", hint=DOWNLOAD_AGAIN)
    prefix = stream.read(LENGTH_BYTES)
    if prefix == b"version ":
        raise CheckpointError(
            f"{path}: is a Git LFS pointer of {size} bytes, not the weights.",
            hint="Run `git lfs pull` in the repository, or download with `hf download`.",
        )
    if len(prefix) < LENGTH_BYTES:
        raise CheckpointError(
            f"{path}: has {size} bytes; a safetensors file begins with {LENGTH_BYTES} bytes of "
            "header length.",
            hint=DOWNLOAD_AGAIN,
        )
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        problem = f"over the {MAX_HEADER_BYTES:,} that the format allows"
    elif length > size - LENGTH_BYTES:
        problem = (
            f"but only {size - LENGTH_BYTES:,} follow: the file is truncated or no safetensors"
        )
    else:
        raw = stream.read(length)
        if len(raw) == length and raw.startswith(b"{"):
            return raw
        problem = f"but it begins with {raw[:8]!r} where '{{' is expected"
    raise CheckpointError(
        f"{path}: claims a header of {length:,} bytes, {problem}.", hint=DOWNLOAD_AGAIN
    )


def _check_metadata(metadata: Any, path: Path) -> None:
    """Refuse a `__metadata__` that is not a map of text to text; MLX writes null for none."""
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(
            f"{path}: __metadata__ is {printable(metadata)}; a map of text to text is expected.",
            hint=DOWNLOAD_AGAIN,
        )


def _tensor(name: str, entry: Any, path: Path, start: int) -> TensorHeader:
    """Return one validated entry, its offsets moved by `start`, where the data begins."""
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise CheckpointError(
            f"{path}: a tensor is named {printable(name)}; a printable name of 1 to "
            f"{MAX_NAME_CHARACTERS} characters is expected.",
            hint=DOWNLOAD_AGAIN,
        )
    where = f"{path}: tensor {printable(name)}"
    if not isinstance(entry, dict):
        raise CheckpointError(
            f"{where}: its entry is {printable(entry)}, not an object.", hint=DOWNLOAD_AGAIN
        )
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise CheckpointError(
            f"{where}: dtype {printable(dtype)} is unknown; expected one of "
            f"{', '.join(DTYPE_BITS)}.",
            hint=DOWNLOAD_AGAIN,
        )
    shape = _naturals(entry.get("shape"), MAX_RANK, f"{where}: shape")
    offsets = _naturals(entry.get("data_offsets"), OFFSETS, f"{where}: data_offsets")
    begin, end = offsets if len(offsets) == OFFSETS else (0, -1)
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8 or end - begin != bits // 8:
        takes = f"{bits:,} bits" if bits < MAX_DIMENSION else "over 2^63 bits"
        raise CheckpointError(
            f"{where}: shape {printable(list(shape))} of {dtype} takes {takes}, but its "
            f"data_offsets are {list(offsets)}.",
            hint=DOWNLOAD_AGAIN,
        )
    return TensorHeader(name, dtype, shape, path.name, start + begin, start + end)


def _naturals(value: Any, most: int, where: str) -> tuple[int, ...]:
    """Return a list of at most `most` non-negative integers."""
    if (
        not isinstance(value, list)
        or len(value) > most
        # bool is a subclass of int, and JSON's true is no dimension.
        or not all(type(number) is int and 0 <= number < MAX_DIMENSION for number in value)
    ):
        raise CheckpointError(
            f"{where} is {printable(value)}; a list of at most {most} integers from 0 to 2^63-1 is "
            "expected.",
            hint=DOWNLOAD_AGAIN,
        )
    return tuple(value)


def _check_cover(tensors: list[TensorHeader], start: int, size: int, path: Path) -> None:
    """Refuse tensors, sorted by offset, that do not cover the file's data exactly."""
    position = start
    for tensor in tensors:
        if tensor.begin != position:
            kind = "overlaps the tensor before it" if tensor.begin < position else "leaves a hole"
            raise CheckpointError(
                f"{path}: tensor {printable(tensor.name)} begins at byte {tensor.begin:,} and "
                f"{kind}; byte {position:,} is expected.",
                hint=DOWNLOAD_AGAIN,
            )
        position = tensor.end
    if position != size:
        kind = "is truncated" if position > size else "has trailing bytes that no tensor covers"
        raise CheckpointError(
            f"{path}: {kind}: its header describes {position:,} bytes, the file has {size:,}.",
            hint=DOWNLOAD_AGAIN,
        )
