"""Weights of float32 read and written without mlx, so that a defect is what was meant."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.selftest.injection.case import Sample, Step

Tensors = dict[str, NDArray[np.float32]]


def read(path: Path) -> Tensors:
    """Return the tensors of a file by name.

    Raises:
        PreflightError: One of them is not of float32.
    """
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    found: Tensors = {}
    for name, item in header.items():
        if item["dtype"] != "F32":
            raise PreflightError(f"{path}: {name} is of {item['dtype']}, not F32")
        begin, end = (8 + size + offset for offset in item["data_offsets"])
        array = np.frombuffer(raw[begin:end], np.float32).reshape(item["shape"])
        found[name] = array.copy()
    return found


def save(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write tensors of float32 in the safetensors format."""
    header, offset = {}, 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        offsets = [offset, end]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        offset = end
    raw = json.dumps({"__metadata__": {"format": "mlx"}, **header}).encode()
    raw += b" " * (-len(raw) % 8)
    body = b"".join(array.tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)


def change(name: str, act: Callable[[Tensors], object]) -> Step:
    """Return what changes the tensors of a file."""

    def step(sample: Sample) -> None:
        path = sample.folder / name
        tensors = read(path)
        act(tensors)
        save(path, tensors)

    return step


def put(name: str, tensor: str, value: float, *, whole: bool = False) -> Step:
    """Return what puts a value into a tensor, at its first place or everywhere.

    Args:
        name: The file.
        tensor: The end of the tensor's name; the first such one in the alphabet is meant.
        value: The value.
        whole: Whether every place gets it.
    """

    def act(tensors: Tensors) -> None:
        first = next(one for one in sorted(tensors) if one.endswith(tensor))
        tensors[first].flat[: None if whole else 1] = value

    return change(name, act)


def shuffled(name: str) -> Step:
    """Return what exchanges every matrix for random numbers of its own size."""

    def act(tensors: Tensors) -> None:
        draw = np.random.default_rng(0)
        for key, array in tensors.items():
            if array.ndim > 1:
                made = draw.standard_normal(array.shape) * array.std()
                tensors[key] = made.astype(np.float32)

    return change(name, act)
