"""Strides of arrays, which decide whether MLX shares, donates or copies a buffer.

Rules of mlx/backend/common (common.cpp, slicing.cpp, broadcasting.cpp, utils.h; 0.32).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, frozen=True)
class Layout:
    """Position of an array in its buffer.

    Attributes:
        shape: Dimensions.
        strides: Elements between neighbours, per dimension.
        contiguous: Whether the elements lie without holes, in any order.
        row: Whether the layout is row-major.
        col: Whether the layout is column-major.
        data_size: Elements of the buffer that the array spans.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    contiguous: bool
    row: bool
    col: bool
    data_size: int

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


_DENSE: dict[tuple[int, ...], Layout] = {}


def dense(shape: tuple[int, ...]) -> Layout:
    """Return the row-major layout of a fresh array."""
    found = _DENSE.get(shape)
    if found is None:
        strides, size = [], 1
        for length in reversed(shape):
            strides.append(size)
            size *= length
        vector = size <= 1 or size == max(shape)
        found = Layout(shape, tuple(reversed(strides)), True, True, vector, size)
        _DENSE[shape] = found
    return found


def contiguity(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, bool, bool]:
    """Return the spanned size without broadcast dimensions, and row- and column-major."""
    spanned = forward = backward = 1
    row = col = True
    last = len(shape) - 1
    for index, length in enumerate(shape):
        mirror = last - index
        col = col and (strides[index] == forward or length == 1)
        row = row and (strides[mirror] == backward or shape[mirror] == 1)
        forward *= length
        backward *= shape[mirror]
        if strides[index] > 0:
            spanned *= length
    return spanned, row, col


def transpose(source: Layout, shape: tuple[int, ...], axes: Sequence[int]) -> Layout:
    """Return the layout of a transposed view."""
    strides = tuple(source.strides[axis] for axis in axes)
    row, col = source.row, source.col
    if source.contiguous and source.data_size == source.size:
        _, row, col = contiguity(shape, strides)
    return Layout(shape, strides, source.contiguous, row, col, source.data_size)


def broadcast(source: Layout, shape: tuple[int, ...]) -> Layout:
    """Return the layout of a broadcast view."""
    offset = len(shape) - len(source.shape)
    strides = [0] * offset
    strides += [
        0 if length == 1 else stride
        for length, stride in zip(source.shape, source.strides, strict=True)
    ]
    grown = math.prod(shape) > source.size
    row, col = source.row and not grown, source.col and not grown
    return Layout(shape, tuple(strides), source.contiguous, row, col, source.data_size)


def expand_dims(source: Layout, shape: tuple[int, ...], axes: Sequence[int]) -> Layout:
    """Return the layout of a view with dimensions of length 1 inserted."""
    strides = list(source.strides)
    for axis in axes:
        strides.insert(axis, 1)
    return Layout(
        shape, tuple(strides), source.contiguous, source.row, source.col, source.data_size
    )


def squeeze(source: Layout, shape: tuple[int, ...], axes: Sequence[int]) -> Layout:
    """Return the layout of a view with dimensions of length 1 removed."""
    dropped = set(axes)
    strides = tuple(s for axis, s in enumerate(source.strides) if axis not in dropped)
    return Layout(shape, strides, source.contiguous, source.row, source.col, source.data_size)


def cut(source: Layout, shape: tuple[int, ...], steps: Sequence[int] | None = None) -> Layout:
    """Return the layout of a slice with the given steps."""
    strides = source.strides
    if steps is not None:
        strides = tuple(stride * step for stride, step in zip(strides, steps, strict=True))
    low = high = 0
    for stride, length in zip(strides, shape, strict=True):
        if stride > 0:
            high += stride * (length - 1)
        else:
            low += stride * (length - 1)
    data_size = high - low + 1
    spanned, row, col = contiguity(shape, strides)
    return Layout(shape, strides, spanned == data_size, row, col, data_size)


def split(source: Layout, shape: tuple[int, ...]) -> Layout:
    """Return the layout of one part of a split."""
    size, row, col = contiguity(shape, source.strides)
    if size == 1:
        contiguous = True
    elif size == source.data_size:
        contiguous = source.contiguous
    else:
        contiguous = source.contiguous and (row or col)
    return Layout(shape, source.strides, contiguous, row, col, size)


def reshape(source: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Return the layout of a reshaped view, or None when the data must be copied."""
    if source.size == 0 or source.row:
        fresh = dense(shape)
        return Layout(shape, fresh.strides, source.contiguous, True, fresh.col, source.data_size)
    if not source.shape:
        strides: tuple[int, ...] = (0,) * len(shape)
    else:
        found = _fitting_strides(source, shape)
        if found is None:
            return None
        strides = found
    return Layout(shape, strides, source.contiguous, source.row, source.col, source.data_size)


def _fitting_strides(source: Layout, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return strides under which the new shape reads the old buffer (`prepare_reshape`)."""
    lengths, strides = [source.shape[0]], [source.strides[0]]
    for length, stride in zip(source.shape[1:], source.strides[1:], strict=True):
        if length == 1:
            continue
        if stride * length != strides[-1] or lengths[-1] * length > 2**31 - 1:
            lengths.append(length)
            strides.append(stride)
        else:
            lengths[-1] *= length
            strides[-1] = stride
    found: list[int] = []
    position = 0
    for length in shape:
        if position < len(lengths) and lengths[position] % length == 0:
            lengths[position] //= length
            found.append(lengths[position] * strides[position])
            position += lengths[position] == 1
        elif length == 1 and found:
            found.append(found[-1])
        else:
            return None
    return tuple(found)


def view_of(name: str, source: Layout, shape: tuple[int, ...], state: Sequence[Any]) -> Any:
    """Return the layout of the first result of a primitive that never moves data.

    Returns:
        A layout; None when `name` is not such a primitive, or when this input makes it copy.
    """
    make = _VIEWS.get(name)
    return make(source, shape, state) if make is not None else None


_VIEWS: dict[str, Callable[[Layout, tuple[int, ...], Sequence[Any]], Layout | None]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Unflatten"), lambda s, shape, _: reshape(s, shape)),
    **dict.fromkeys(("Broadcast", "BroadcastAxes"), lambda s, shape, _: broadcast(s, shape)),
    **dict.fromkeys(("Copy", "StopGradient"), lambda s, _, __: s),
    "Transpose": lambda s, shape, state: transpose(s, shape, state[0]),
    "ExpandDims": lambda s, shape, state: expand_dims(s, shape, state[0]),
    "Squeeze": lambda s, shape, state: squeeze(s, shape, state[0]),
    "Slice": lambda s, shape, state: cut(s, shape, state[2]),
}
