"""Add what MLX-LM's training loop evaluates together with its compiled step.

The loop of mlx_lm/tuner/trainer.py (0.32) hands `mx.eval` the state, which includes the
random state, and the sums of loss and tokens. These few bytes decide the order in which
everything else runs: MLX walks the graph breadth-first with a limit on the width.
"""

from __future__ import annotations

from mlx_preflight.memory.graph import Graph, Node


def beside(graph: Graph, loss: list[int], *, first: bool) -> tuple[list[Node], list[int]]:
    """Return the primitives beside the step and their results, in the order of evaluation.

    Args:
        graph: The step; what the loop reads is added to its arrays, but no primitive is.
        loss: The step's loss and tokens.
        first: Whether it is the first step: drawing the adapters left the random state as an
            unevaluated view of the last split key.
    """
    nodes = [_sum(graph, item) for item in loss]
    if first:
        key, shape = _constant(graph, (1, 2), "uint32"), (2,)
        state = graph.add(shape, graph.itemsizes[key], "uint32")
        nodes.insert(0, Node("Reshape", [key], [state], [shape]))
    return nodes, [node.outputs[0] for node in nodes]


def _sum(graph: Graph, item: int) -> Node:
    dtype, size = graph.dtypes[item], graph.itemsizes[item]
    total = graph.add((), size, dtype)
    return Node("Add", [_constant(graph, (), dtype), item], [total])


def _constant(graph: Graph, shape: tuple[int, ...], dtype: str) -> int:
    """Add an array of four-byte elements that exists before the step."""
    array = graph.add(shape, 4, dtype)
    graph.constants.append(array)
    return array
