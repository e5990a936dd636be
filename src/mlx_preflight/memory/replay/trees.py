"""Nested dicts and lists of arrays, walked in MLX's own order (python/src/trees.cpp)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the arrays of nested dicts and lists in MLX's order (python/src/trees.cpp)."""
    if isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, mx.array):
        yield tree


def fill(tree: Any, values: Iterator[Any]) -> Any:
    """Put arrays into a tree in the order of `leaves`, in place for dicts and lists."""
    if isinstance(tree, dict):
        for key in tree:
            tree[key] = fill(tree[key], values)
        return tree
    if isinstance(tree, list):
        tree[:] = [fill(item, values) for item in tree]
        return tree
    if isinstance(tree, tuple):
        return tuple(fill(item, values) for item in tree)
    return next(values) if isinstance(tree, mx.array) else tree
