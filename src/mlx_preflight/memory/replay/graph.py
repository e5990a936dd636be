"""A traced computation: arrays, primitives and the constants they read.

Ids are dense integers so that the replay works on plain lists. This module must not
import MLX: a graph is data, whoever made it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """One primitive: its name as exported, the ids it reads and writes, its state."""

    name: str
    inputs: list[int]
    outputs: list[int]
    state: Sequence[Any] = ()


@dataclass(slots=True)
class Graph:
    """A traced function.

    Attributes:
        shapes: Shape of every array, by id.
        itemsizes: Bytes of one element, by id.
        dtypes: Name of the dtype such as `float32`, by id.
        nodes: Primitives in the order of MLX's tape, inputs before their readers.
        inputs: Ids of the function's arguments, in order.
        outputs: Ids of its results, in order.
        constants: Ids of arrays that exist before the call and are not arguments.
        scalars: Those of `constants` that have no dimension: compilation folds them.
        labels: Category of an argument, by id.
    """

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    itemsizes: list[int] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    constants: list[int] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)

    def add(self, shape: tuple[int, ...], itemsize: int, dtype: str) -> int:
        """Register an array and return its id."""
        self.shapes.append(shape)
        self.itemsizes.append(itemsize)
        self.dtypes.append(dtype)
        return len(self.shapes) - 1

    def nbytes(self, array: int) -> int:
        """Return the bytes of a dense array."""
        return math.prod(self.shapes[array]) * self.itemsizes[array]

    def prune(self) -> None:
        """Drop the primitives whose results nobody reads."""
        wanted = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]

    def producers(self) -> dict[int, int]:
        """Return the index of the node that writes each array."""
        return {out: index for index, node in enumerate(self.nodes) for out in node.outputs}


class Recorder:
    """Builder of a graph from the records of `mx.export_function(callback, …)`.

    The records are dictionaries with a `type`; mlx/export.cpp, `export_with_callback`
    (0.32.4). Arrays are tuples of name, shape and dtype.
    """

    def __init__(self) -> None:
        """Start with an empty graph."""
        self.graph = Graph()
        self._ids: dict[str, int] = {}
        self._sizes: dict[Any, tuple[int, str]] = {}

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Take one record."""
        kind = record["type"]
        if kind == "primitive":
            read, wrote = self._many(record["inputs"]), self._many(record["outputs"])
            self.graph.nodes.append(Node(record["name"], read, wrote, record["arguments"]))
        elif kind == "inputs":
            self.graph.inputs = self._many(record["inputs"])
        elif kind == "outputs":
            self.graph.outputs = self._many(record["outputs"])
        elif kind == "constants":
            for name, value in record["constants"]:
                self.graph.constants.append(self._one(name, tuple(value.shape), value.dtype))

    def _many(self, arrays: Sequence[tuple[str, tuple[int, ...], Any]]) -> list[int]:
        ids = self._ids
        return [
            found if (found := ids.get(name)) is not None else self._one(name, shape, dtype)
            for name, shape, dtype in arrays
        ]

    def _one(self, name: str, shape: tuple[int, ...], dtype: Any) -> int:
        facts = self._sizes.get(dtype)
        if facts is None:
            facts = self._sizes[dtype] = (dtype.size, str(dtype).removeprefix("mlx.core."))
        self._ids[name] = number = self.graph.add(shape, *facts)
        return number
