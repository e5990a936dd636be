"""The fusion of `mx.compile`, applied to a traced graph.

`mx.export_function` already simplifies (mlx/export.cpp calls `compile_simplify`), so the
graph equals the tape that `compile_fuse` of mlx/compile.cpp (0.32) gets. It walks the tape
from the end, gathers elementwise neighbours and replaces them by one `Compiled` primitive
that allocates its outputs only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.replay.graph import Graph, Node


@dataclass(slots=True)
class _Fuser:
    """State of one pass: who reads what, and which nodes are already fused."""

    graph: Graph
    producer: dict[int, int]
    readers: dict[int, set[int]]
    kept: dict[int, Node]
    outputs: set[int]
    scalars: set[int]
    done: set[int] = field(default_factory=set)
    copies: int = 0

    def find(self, start: int) -> set[int]:
        """Return the nodes that fuse into the node at index `start`."""
        graph, producer, kept = self.graph, self.producer, self.kept
        shape = graph.shapes[kept[start].outputs[0]]
        members: set[int] = set()
        boundary: set[int] = set()

        def visit(array: int, depth: int) -> None:
            index = producer.get(array)
            if index is not None and index in members:
                return
            if (
                depth >= rules.FUSION_DEPTH
                or index is None
                or kept[index].name not in rules.FUSABLE
                or (array in self.outputs and graph.shapes[array] != shape)
            ):
                boundary.add(array)
                return
            if depth and not self.readers[array] <= members:
                if kept[index].name == "Broadcast" and len(boundary) < rules.FUSION_ARRAYS:
                    visit(self.split(array, members), depth)
                else:
                    boundary.add(array)
                return
            if array in self.outputs:
                boundary.add(array)
            else:
                boundary.discard(array)
            if len(boundary) >= rules.FUSION_ARRAYS:
                return
            members.add(index)
            for read in kept[index].inputs:
                visit(read, depth + 1)

        visit(kept[start].outputs[0], 0)
        return members

    def split(self, array: int, members: set[int]) -> int:
        """Give the readers inside `members` their own copy of a broadcast."""
        graph, index = self.graph, self.producer[array]
        node = self.kept[index]
        copy = graph.add(graph.shapes[array], graph.itemsizes[array], graph.dtypes[array])
        self.copies += 1
        twin = -self.copies
        self.kept[twin] = Node(node.name, list(node.inputs), [copy], node.state)
        self.producer[copy] = twin
        # A scalar may have thousands of readers: look at the few members instead.
        inside = {member for member in members if member in self.readers[array]}
        self.readers[copy] = inside
        self.readers[array] -= inside
        for reader in inside:
            node = self.kept[reader]
            node.inputs = [copy if item == array else item for item in node.inputs]
        for read in self.kept[twin].inputs:
            self.readers.setdefault(read, set()).add(twin)
        return copy

    def _inputs_and_order(self, start: int, members: set[int]) -> tuple[list[int], list[int]]:
        """Return what the members read from outside, and the members in tape order."""
        read: list[int] = []
        order: list[int] = []
        seen: set[int] = set()

        def visit(array: int) -> None:
            if array in seen:
                return
            seen.add(array)
            index = self.producer.get(array)
            if index is None or index not in members:
                read.append(array)
                return
            for item in self.kept[index].inputs:
                visit(item)
            order.append(index)

        visit(self.kept[start].outputs[0])
        return read, order

    def merge(self, start: int, members: set[int]) -> None:
        """Replace the members by one node at the place of `start`."""
        kept = self.kept
        read, order = self._inputs_and_order(start, members)
        results = [kept[index].outputs[0] for index in order]
        wrote = [a for a in results[:-1] if a in self.outputs] + [results[-1]]
        names = tuple(kept[index].name for index in order)
        for index in order:
            # Arguments and constants may have thousands of readers, which nobody asks for.
            for item in filter(self.producer.__contains__, kept[index].inputs):
                self.readers[item] -= members
            self.done.add(index)
        for index in order[:-1]:
            del kept[index]
        constants = tuple(position for position, item in enumerate(read) if item in self.scalars)
        kept[start] = Node("Compiled", read, wrote, (names, constants))
        for item in read:
            self.readers.setdefault(item, set()).add(start)
        for item in wrote:
            self.producer[item] = start


def fuse(graph: Graph, only: frozenset[str] | None = None) -> Graph:
    """Return the graph as `mx.compile` runs it.

    Args:
        graph: A simplified graph; it is not changed.
        only: Merge no group without one of these primitives.
    """
    readers: dict[int, set[int]] = {}
    for index, node in enumerate(graph.nodes):
        for item in node.inputs:
            readers.setdefault(item, set()).add(index)
    for item in graph.outputs:
        readers.setdefault(item, set())
    copy = Graph(
        shapes=list(graph.shapes),
        itemsizes=list(graph.itemsizes),
        dtypes=list(graph.dtypes),
        inputs=graph.inputs,
        outputs=graph.outputs,
        constants=graph.constants,
        labels=graph.labels,
    )
    kept = {
        index: Node(node.name, list(node.inputs), node.outputs, node.state)
        for index, node in enumerate(graph.nodes)
    }
    scalars = {item for item in graph.constants if graph.shapes[item] == ()}
    fuser = _Fuser(copy, graph.producers(), readers, kept, set(graph.outputs), scalars)
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in fuser.done or kept[index].name in rules.NEVER_A_ROOT:
            continue
        if kept[index].name not in rules.FUSABLE:
            continue
        members = fuser.find(index)
        names = {kept[member].name for member in members}
        if len(members) > 1 and (only is None or names & only):
            fuser.merge(index, members)
    # Split broadcasts that stayed alone come first: they read what exists early enough.
    copy.nodes = [kept[index] for index in sorted(kept)]
    return copy
