"""Arithmetic and traffic of a traced step: what it computes, and what it moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mlx_preflight.memory.replay.graph import Graph, Node

QUANTIZED = frozenset({"QuantizedMatmul", "GatherQMM", "QQMatmul"})

PRODUCTS = frozenset({"Matmul", "AddMM", "GatherMM", "SegmentedMM", "BlockMaskedMM"}) | QUANTIZED

VIEWS = frozenset(
    [
        *("Transpose", "Reshape", "Flatten", "Unflatten", "Broadcast", "ExpandDims", "Squeeze"),
        *("Slice", "Split", "AsStrided", "Depends", "CustomTransforms", "StopGradient"),
    ]
)
"""Primitives that move nothing, nearly always."""


@dataclass(slots=True)
class Costs:
    """Work of a step.

    Attributes:
        tokens: Tokens that go through the model, all rows.
        width: Those of a row.
        flops: Multiplications and additions of matrix products by kind, `plain` or
            `quantized`, as far as they grow with the tokens.
        attention_flops: Those of products between tokens, which grow with the width, too.
        weight_bytes: Weights that the products read, whatever the width.
        moved_bytes: Bytes that primitives read and write beside them.
        attention_bytes: Those of arrays between tokens.
        kernels: Primitives that run.
    """

    tokens: int
    width: int
    flops: dict[str, float] = field(default_factory=lambda: {"plain": 0.0, "quantized": 0.0})
    attention_flops: float = 0.0
    weight_bytes: float = 0.0
    moved_bytes: float = 0.0
    attention_bytes: float = 0.0
    kernels: int = 0

    @property
    def all_flops(self) -> float:
        """Return all multiplications and additions of products."""
        return sum(self.flops.values()) + self.attention_flops

    def part(self, work: float, calls: float) -> Costs:
        """Return the costs of a part of the step.

        Args:
            work: Its share of arithmetic and traffic.
            calls: Its share of the primitives.
        """
        return Costs(
            tokens=self.tokens,
            width=self.width,
            flops={kind: count * work for kind, count in self.flops.items()},
            attention_flops=self.attention_flops * work,
            weight_bytes=self.weight_bytes * work,
            moved_bytes=self.moved_bytes * work,
            attention_bytes=self.attention_bytes * work,
            kernels=round(self.kernels * calls),
        )

    def continued(self, longer: Costs, share: float) -> Costs:
        """Return the costs of a step of all tokens, made of two with shorter loops.

        Args:
            longer: Costs with the longer loops.
            share: How many times the difference lies between these and all tokens.
        """

        def grown(short: float, long: float) -> float:
            return short + (long - short) * share

        return Costs(
            tokens=self.tokens,
            width=self.width,
            flops={kind: grown(count, longer.flops[kind]) for kind, count in self.flops.items()},
            attention_flops=grown(self.attention_flops, longer.attention_flops),
            weight_bytes=grown(self.weight_bytes, longer.weight_bytes),
            moved_bytes=grown(self.moved_bytes, longer.moved_bytes),
            attention_bytes=grown(self.attention_bytes, longer.attention_bytes),
            kernels=round(grown(self.kernels, longer.kernels)),
        )

    def at(self, width: int) -> Costs:
        """Return the costs of the same step with rows of another width."""
        part = width / self.width
        return Costs(
            tokens=round(self.tokens * part),
            width=width,
            flops={kind: count * part for kind, count in self.flops.items()},
            attention_flops=self.attention_flops * part**2,
            weight_bytes=self.weight_bytes,
            moved_bytes=self.moved_bytes * part,
            attention_bytes=self.attention_bytes * part**2,
            kernels=self.kernels,
        )


def of(graph: Graph, rows: int, width: int) -> Costs:
    """Return the costs of a fused graph.

    Args:
        graph: A step as it runs.
        rows: Rows of the batch.
        width: Tokens of a row that go through the model.
    """
    found = Costs(rows * width, width)
    given = {*graph.labels}
    for node in graph.nodes:
        if node.name in VIEWS or not node.outputs:
            if given.issuperset(node.inputs):
                given.update(node.outputs)  # (a transposed weight is the weight)
            continue
        found.kernels += 1
        between = _between_tokens(graph, node, width, given)
        moved = sum(graph.nbytes(item) for item in (*node.inputs, *node.outputs))
        if node.name in PRODUCTS:
            weights = sum(graph.nbytes(item) for item in node.inputs if item in given)
            found.weight_bytes += weights
            moved -= weights
            shared = graph.shapes[node.inputs[0]][-1]
            # Each row belongs to one segment.
            made = graph.shapes[node.outputs[0]][node.name == "SegmentedMM" :]
            flops = 2.0 * math.prod(made) * shared
            if between:
                found.attention_flops += flops
            else:
                found.flops["quantized" if node.name in QUANTIZED else "plain"] += flops
        elif "Attention" in node.name:
            queries, keys = graph.shapes[node.inputs[0]], graph.shapes[node.inputs[1]]
            found.attention_flops += 4.0 * math.prod(queries) * keys[-2]
        if between:
            found.attention_bytes += moved
        else:
            found.moved_bytes += moved
    return found


def _between_tokens(graph: Graph, node: Node, width: int, given: set[int]) -> bool:
    """Return whether a primitive makes or contracts an array of width by width."""
    if not given.isdisjoint(node.inputs) and node.name in PRODUCTS:
        return False  # (a weight whose side happens to be the width)
    arrays = [*node.inputs, *node.outputs]
    return any(sum(side == width for side in graph.shapes[item]) > 1 for item in arrays)
