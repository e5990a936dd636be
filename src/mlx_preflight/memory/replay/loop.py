"""Primitives that MLX-LM's training loop evaluates together with its compiled step.

The loop of mlx_lm/tuner/trainer.py (0.32) hands `mx.eval` the state, which includes the
random state, and the sums of loss and tokens. These few bytes decide the order in which
everything else runs: MLX walks the graph breadth-first with a limit on the width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from mlx_preflight.memory.replay.graph import Graph, Node
from mlx_preflight.memory.replay.simulation import Step


def sums(graph: Graph, loss: list[int]) -> list[Node]:
    """Return the sums of loss and tokens, whose arrays are added to the graph."""
    nodes = []
    for item in loss:
        dtype, size = graph.dtypes[item], graph.itemsizes[item]
        before = _constant(graph, (), dtype, size)
        nodes.append(Node("Add", [before, item], [graph.add((), size, dtype)]))
    return nodes


def first(step: Step, moments: Collection[int], *, update: bool) -> Step:
    """Return the very first step of a run, made of a later one.

    Drawing the adapters left the random state as an unevaluated view of the last split key.
    The optimizer has no state yet; at its first update it fills arrays with zeros.

    Args:
        step: A later step that adds no gradients; it is not changed.
        moments: Its arguments that the first update makes.
        update: Whether this step applies gradients.
    """
    graph = step.graph
    copy = replace(
        graph,
        shapes=list(graph.shapes),
        itemsizes=list(graph.itemsizes),
        dtypes=list(graph.dtypes),
        inputs=[item for item in graph.inputs if item not in moments],
        constants=list(graph.constants),
        labels={item: label for item, label in graph.labels.items() if item not in moments},
    )
    zeros, filled = _zeros(copy, moments) if update else ([], {})
    copy.outputs = [filled.get(item, item) for item in graph.outputs]
    copy.nodes = [*zeros, *_merged(graph.nodes, filled, set(graph.outputs))]
    key, shape = _constant(copy, (1, 2), "uint32", 4), (2,)
    state = Node("Reshape", [key], [copy.add(shape, 4, "uint32")], [shape])
    wanted = [filled.get(item, item) for item in step.wanted if update or item not in moments]
    wanted.insert(wanted.index(step.beside[0].outputs[0]), state.outputs[0])
    return replace(step, graph=copy, wanted=wanted, beside=[state, *step.beside])


def _zeros(graph: Graph, moments: Collection[int]) -> tuple[list[Node], dict[int, int]]:
    """Return primitives that fill arrays with zeros, and what stands for each moment.

    Equal ones are merged, unless they are results: SGD without momentum keeps its zeros.
    """
    results, nodes = set(graph.outputs), list[Node]()
    views: dict[tuple[tuple[int, ...], str], int] = {}
    shared: dict[int, int] = {}
    filled: dict[int, int] = {}
    for item in moments:
        shape, dtype, size = graph.shapes[item], graph.dtypes[item], graph.itemsizes[item]
        view = views.get((shape, dtype))
        if view is None:
            view = views[shape, dtype] = graph.add(shape, size, dtype)
            nodes.append(Node("Broadcast", [_constant(graph, (), dtype, size)], [view], [shape]))
        if item in results or view not in shared:
            full = graph.add(shape, size, dtype)
            nodes.append(Node("Full", [view], [full]))
            filled[item] = full if item in results else shared.setdefault(view, full)
        else:
            filled[item] = shared[view]
    return nodes, filled


def _merged(nodes: Sequence[Node], filled: dict[int, int], kept: set[int]) -> Iterator[Node]:
    """Yield nodes that read what replaces the moments; equal ones only once.

    `mx.compile` merges equal primitives (mlx/compile.cpp, `compile_simplify`), but no results.
    """
    same, changed = dict(filled), set(filled.values())
    seen: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    for node in nodes:
        inputs = [same.get(item, item) for item in node.inputs]
        if not changed.isdisjoint(inputs):
            key = (node.name, tuple(inputs), repr(node.state))
            found = seen.setdefault(key, node.outputs)
            changed.update(node.outputs)
            if found is not node.outputs and kept.isdisjoint(node.outputs):
                same.update(zip(node.outputs, found, strict=True))
                continue
        yield Node(node.name, inputs, node.outputs, node.state)


def _constant(graph: Graph, shape: tuple[int, ...], dtype: str, size: int) -> int:
    """Add an array that exists before the step."""
    array = graph.add(shape, size, dtype)
    graph.constants.append(array)
    return array
