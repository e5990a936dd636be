"""The order in which MLX evaluates a graph.

`eval_impl` of mlx/transforms.cpp (0.32): a depth-first pass counts how often each array is
read, a breadth-first pass with a width limit builds a tape from the results backwards, and
the tape is executed from its end. Outputs of one primitive share its count.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.replay.graph import Graph


def order(graph: Graph, wanted: Sequence[int]) -> list[int]:
    """Return the indices of the nodes in the order in which they run.

    Args:
        graph: What is evaluated; arrays without a node exist already.
        wanted: Arrays handed to `mx.eval`, in order.
    """
    producer = graph.producers()
    root = len(graph.nodes)
    reads = [[producer.get(a, -1) for a in node.inputs] for node in graph.nodes]
    reads.append([producer.get(a, -1) for a in wanted])
    degree = _degrees(reads, root)
    tape = [root]
    stack: list[tuple[int, int]] = []
    position = 0
    while position < len(tape) or stack:
        start = 0
        if position >= len(tape):
            current, start = stack.pop()
        else:
            current = tape[position]
            position += 1
        items = reads[current]
        for index in range(start, len(items)):
            item = items[index]
            if item < 0:
                continue
            if len(tape) - position >= rules.EVAL_WIDTH:
                stack.append((current, index))
                break
            degree[item] -= 1
            if degree[item] == 0:
                tape.append(item)
    return tape[:0:-1]


def _degrees(reads: list[list[int]], root: int) -> list[int]:
    """Return how often each node is read by the nodes that the root needs."""
    degree = [0] * len(reads)
    stack = [root]
    while stack:
        for item in reads[stack.pop()]:
            if item < 0:
                continue
            if degree[item] == 0:
                stack.append(item)
            degree[item] += 1
    return degree
