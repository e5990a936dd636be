"""Stand-ins for primitives that MLX cannot export (mlx/export.cpp 0.32, `PrimitiveFactory`).

While a function is traced, the functions of `mx` that make such a primitive, forwards or in
their gradient, return expressions that can be exported. They are built around functions that
no language model calls, and `restore` puts the primitives in their place.

`SegmentedMM` is the gradient of `gather_mm` with sorted indices by its second argument: the
gradient of the experts' adapters. There the product is taken twice: once as it is, constant in
the second argument, and once unsorted, constant in the first, whose gradient can be exported.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import mlx.core as mx

from mlx_preflight.memory.replay.graph import Graph, Node
from mlx_preflight.memory.replay.stand_ins import replaced

FACTOR = "ArcTan"
"""Exported name of what marks the second argument of a product that is constant in it."""

ROWS = "ArcCos"
"""Likewise the first argument of the unsorted product."""

DENSE = "Sinh"
"""Likewise the argument of `contiguous`."""

DECODED = "Log1p"
"""Likewise what `from_fp8` returns. (No function whose gradient another one has, as `Cosh`.)"""

ENCODED = "Tan"
"""Likewise the argument of `to_fp8`."""

FP8_MODES = {"mxfp8": (32, 8), "nvfp4": (16, 4)}
"""Modes whose `dequantize` decodes eight-bit numbers, and their group size and bits."""


@contextlib.contextmanager
def exportable() -> Iterator[None]:
    """Make `mx` return what can be exported."""
    replacements = {
        "gather_mm": _gather_mm(mx.gather_mm),
        "contiguous": _contiguous(mx.contiguous),
        "dequantize": _dequantize(mx.dequantize),
        "from_fp8": _from_fp8,
        "to_fp8": _to_fp8,
    }
    with replaced(mx, replacements):
        yield


def _gather_mm(original: Any) -> Any:

    def gather_mm(a: Any, b: Any, *indices: Any, sorted_indices: bool = False, **named: Any) -> Any:
        if not sorted_indices:
            return original(a, b, *indices, **named)
        kind = mx.result_type(a, b)
        a, b = a.astype(kind), b.astype(kind)
        factor, rows = mx.stop_gradient(mx.arctan(b)), mx.stop_gradient(mx.arccos(a))
        exact = original(a, factor, *indices, sorted_indices=True, **named)
        return exact + original(rows, b, *indices, **named)

    return gather_mm


def _contiguous(original: Any) -> Any:

    def contiguous(a: Any, allow_col_major: bool = False, **named: Any) -> Any:
        if allow_col_major or not mx.issubdtype(a.dtype, mx.floating):
            return original(a, allow_col_major, **named)
        return a * mx.stop_gradient(mx.sinh(a))

    return contiguous


def _from_fp8(x: Any, dtype: Any = mx.bfloat16, **_: Any) -> Any:

    return mx.log1p(x.astype(dtype))


def _to_fp8(x: Any, **_: Any) -> Any:

    return mx.tan(x).astype(mx.uint8)


def _dequantize(original: Any) -> Any:

    def dequantize(
        w: Any,
        scales: Any,
        biases: Any = None,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        global_scale: Any = None,
        dtype: Any = None,
        **named: Any,
    ) -> Any:
        if mode in FP8_MODES:
            return _decoded(w, scales, dtype or mx.bfloat16, global_scale, *FP8_MODES[mode])
        return original(w, scales, biases, group_size, bits, mode, global_scale, dtype, **named)

    return dequantize


def _decoded(w: Any, scales: Any, kind: Any, scale: Any, group: int, bits: int) -> Any:
    """Return what `fp_dequantize` (mlx/ops.cpp 0.32) computes on the CPU."""
    shape = (*w.shape[:-1], w.shape[-1] * 32 // bits)
    if bits == FP8_MODES["nvfp4"][1]:
        table = mx.array([0.0] * 16, kind)
        packed = mx.view(w.reshape(-1, 4), mx.int8)
        halves = [table[packed & mx.array(15, mx.int8)], table[packed >> mx.array(4, mx.int8)]]
        values = mx.concatenate([half[..., None] for half in halves], axis=-1)
    else:
        values = _from_fp8(mx.view(w, mx.uint8), kind)
    values, scales = values.reshape(-1, group), scales.reshape(-1, 1)
    if group == FP8_MODES["nvfp4"][0]:
        whole = mx.array(1.0, kind)
        if scale is not None:
            whole = scale / mx.array(448.0 * 6.0, kind)
        factors = _from_fp8(scales, kind) * whole
    else:
        factors = mx.array(2.0, kind) ** (scales.astype(kind) - mx.array(127, kind))
    return (values * factors).reshape(shape)


def restore(graph: Graph) -> None:
    """Give the stand-ins in a traced graph the names and inputs of what they stand for."""
    if not {FACTOR, ROWS, DENSE, DECODED, ENCODED}.isdisjoint(node.name for node in graph.nodes):
        _Restorer(graph).run()
        graph.prune()


class _Restorer:
    """One pass over a graph, whose primitives come after what they read."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producer = {out: node for node in graph.nodes for out in node.outputs}
        self.nodes: list[Node] = []
        self.same: dict[int, int] = {}
        self.marked: dict[int, tuple[str, int]] = {}
        self.twins: set[int] = set()
        self.gradients: dict[int, tuple[int, int]] = {}
        self.known: dict[tuple[str, int, int], int] = {}

    def run(self) -> None:
        for node in self.graph.nodes:
            first = next(iter(node.inputs), -1)
            node.inputs = [self.same.get(item, item) for item in node.inputs]
            if not (node.inputs and self._taken(node, first)):
                self.nodes.append(node)
        self.graph.nodes = self.nodes
        self.graph.outputs = [self.same.get(item, item) for item in self.graph.outputs]

    def _taken(self, node: Node, first: int) -> bool:
        """Restore a node; return whether it is not part of the real graph.

        Args:
            node: With the inputs of the real graph.
            first: What its first input was before; `StopGradient` may stay or be left out.
        """
        kind, source = self.marked.get(first, ("", node.inputs[0]))
        if node.name in {FACTOR, ROWS, DENSE, ENCODED}:
            kind = node.name
        elif node.name != "StopGradient" or not kind:
            return self._replaced(node, kind, source)
        self.marked[node.outputs[0]] = (kind, source)
        if kind == FACTOR:
            self.same[node.outputs[0]] = source
        return True

    def _replaced(self, node: Node, kind: str, source: int) -> bool:
        """Restore what is made of a marked array; return whether it is not in the graph."""
        if node.name == DECODED:
            node.name, node.inputs = "FromFP8", self.producer[source].inputs
        elif node.name == "AsType" and kind == ENCODED:
            node.name, node.inputs = "ToFP8", [source]
        elif node.name == "Multiply":
            return self._dense(node)
        elif node.name == "GatherMM":
            return self._product(node)
        else:
            return self._after_product(node)
        return False

    def _dense(self, node: Node) -> bool:
        """Restore `contiguous`; its gradient is the cotangent itself."""
        left, right = node.inputs
        if self.marked.get(left, ("", 0))[0] == DENSE:
            left, right = right, left
        kind, source = self.marked.get(right, ("", right))
        if kind != DENSE:
            return False
        if left == source:
            node.name, node.inputs = "Contiguous", [source]
            return False
        self.same[node.outputs[0]] = left
        return True

    def _product(self, node: Node) -> bool:
        """Drop the unsorted product, and note its gradient."""
        rows, factor = (self.marked.get(item, ("", item)) for item in node.inputs[:2])
        if rows[0] == ROWS:
            self.twins.add(node.outputs[0])
        elif factor[0] == ROWS:
            cotangent = self.producer[node.inputs[0]].inputs[0]
            self.gradients[node.outputs[0]] = (cotangent, factor[1])
        return rows[0] == ROWS or factor[0] == ROWS

    def _after_product(self, node: Node) -> bool:
        out = node.outputs[0]
        if node.name == "Add" and not self.twins.isdisjoint(node.inputs):
            self.same[out] = next(item for item in node.inputs if item not in self.twins)
            return True
        gradient = self.gradients.get(node.inputs[-1])
        if gradient is not None and node.name == "ExpandDims":
            self.gradients[out] = gradient
            return True
        if gradient is not None and node.name == "Scatter":
            self._segmented(node, *gradient)
            return True
        return False

    def _segmented(self, node: Node, cotangent: int, rows: int) -> None:
        """Add the product of segments instead (mlx/primitives.cpp 0.32, `gather_mm_grad`)."""
        out, shape = node.outputs[0], self.graph.shapes
        segments = self._segments(node.inputs[1], shape[out][0])
        left, right = self._flat(cotangent), self._flat(rows)
        turned = self._add("Transpose", [left], shape[left][::-1], left, ((1, 0),))
        self.nodes.append(Node("SegmentedMM", [turned, right, segments], [out]))

    def _flat(self, array: int) -> int:
        shape = self.graph.shapes[array]
        wanted = (math.prod(shape[:-1]), shape[-1])
        return array if shape == wanted else self._add("Flatten", [array], wanted, array)

    def _segments(self, indices: int, count: int) -> int:
        """Return where the rows of each expert begin and end, once for the same indices."""
        key = ("segments", indices, count)
        if key not in self.known:
            self.known[key] = self._bounds(indices, count)
        return self.known[key]

    def _bounds(self, indices: int, count: int) -> int:
        graph = self.graph
        zero, one, start = (graph.add(shape, 4, "uint32") for shape in ((), (), (1,)))
        graph.constants += [zero, one, start]
        view = self._add("Broadcast", [zero], (count,), zero, ((count,),))
        sums = self._add("Full", [view], (count,), zero)
        length = graph.shapes[indices]
        ones = self._add("Broadcast", [one], length, one, (length,))
        sums = self._add("ScatterAxis", [sums, indices, ones], (count,), zero)
        sums = self._add("Scan", [sums], (count,), zero)
        sums = self._add("Concatenate", [start, sums], (count + 1,), zero)
        return self._add("AsStrided", [sums], (count, 2), zero)

    def _add(
        self, name: str, inputs: list[int], shape: tuple[int, ...], like: int, state: Any = ()
    ) -> int:
        """Add a primitive unless an equal one exists, as compilation merges them."""
        key = (name, inputs[0], len(inputs))
        if name in {"Flatten", "Transpose"} and key in self.known:
            return self.known[key]
        graph = self.graph
        out = graph.add(shape, graph.itemsizes[like], graph.dtypes[like])
        self.nodes.append(Node(name, inputs, [out], state))
        self.known[key] = out
        return out
