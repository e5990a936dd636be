"""Buffers of a replayed evaluation: who allocates, shares, donates and frees, and when.

MLX's main thread allocates and submits; a worker (the CPU stream or the GPU) computes and
lets go of the inputs afterwards. A buffer is free once no array refers to it and the worker
is past its last reader, so the peak depends on how far the main thread runs ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlx_preflight.memory.replay import layout as layouts
from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.replay.buffer_cache import BufferCache
from mlx_preflight.memory.replay.graph import Graph, Node
from mlx_preflight.memory.replay.layout import Layout


class Buffer:
    """One allocation: its bytes, and how many arrays and pending tasks hold it."""

    __slots__ = ("holders", "nbytes", "origin")

    def __init__(self, nbytes: int, origin: int) -> None:
        """Start with one holder; `origin` is the array that it was allocated for."""
        self.nbytes = nbytes
        self.holders = 1
        self.origin = origin


@dataclass(slots=True)
class Replay:
    """Outcome of a replay.

    Attributes:
        peak_bytes: Largest number of live bytes.
        peak_event: Index of the event that reached it.
        events: Every allocation and release in order: the array that the buffer was first
            allocated for, and the bytes, negative when released. It begins with the arguments.
        positions: How many events precede each executed primitive.
        last_use: Place in the execution order of the last reader of each allocation.
    """

    peak_bytes: int = 0
    peak_event: int = 0
    events: list[tuple[int, int]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    last_use: dict[int, int] = field(default_factory=dict)


class Machine:
    """Simulated machine that executes nodes one by one on its buffers."""

    def __init__(
        self,
        graph: Graph,
        order: Sequence[int],
        keep: Sequence[int],
        lag: Lag,
        *,
        page: int = 1,
        cache: BufferCache | None = None,
    ) -> None:
        """Place the arguments and count the references to every array.

        Args:
            graph: What runs.
            order: Indices of the nodes in execution order.
            keep: Arrays that something outside the graph still refers to.
            lag: How far the worker is behind.
            page: Larger buffers than this many bytes are rounded up to a multiple of it.
            cache: What keeps freed buffers for reuse; the CPU backend's if None.
        """
        self.graph = graph
        self.order = order
        self.lag = lag
        self.page = page
        self.cache = cache or BufferCache(rules.CPU_PAGE, rules.CPU_CACHE)
        self.result = Replay()
        self.layout: dict[int, Layout] = {}
        self.buffer: dict[int, Buffer] = {}
        self.refs = [0] * len(graph.shapes)
        self.live = 0
        self.pending: list[Buffer] = []
        self.dispatches = 0
        for index in order:
            node = graph.nodes[index]
            # Every result has its own list of inputs (`make_arrays` of mlx/array.cpp), so a
            # primitive with several results never finds an input that nothing else refers to.
            for item in node.inputs:
                self.refs[item] += len(node.outputs)
        for item in keep:
            self.refs[item] += 1
        for item in dict.fromkeys([*graph.inputs, *graph.constants]):
            self.layout[item] = layouts.dense(graph.shapes[item])
            self.allocate(item, graph.nbytes(item))

    # -- buffers -------------------------------------------------------------------------

    def _new(self, array: int, nbytes: int) -> Buffer:
        if nbytes > self.page:
            nbytes += -nbytes % self.page
        nbytes = self.cache.take(nbytes)
        self.live += nbytes
        self.result.events.append((array, nbytes))
        if self.live > self.result.peak_bytes:
            self.result.peak_bytes = self.live
            self.result.peak_event = len(self.result.events) - 1
        return Buffer(nbytes, array)

    def allocate(self, array: int, nbytes: int) -> None:
        """Give an array a buffer of its own."""
        self.buffer[array] = self._new(array, nbytes)

    def temporary(self, array: int, nbytes: int) -> None:
        """Allocate scratch memory that lives until the worker is past this primitive."""
        self.pending.append(self._new(array, nbytes))

    def share(self, array: int, buffer: Buffer) -> None:
        """Assign an existing buffer to an array."""
        buffer.holders += 1
        self.buffer[array] = buffer

    def release(self, buffer: Buffer) -> None:
        """Drop one holder; the last one frees the buffer."""
        buffer.holders -= 1
        if buffer.holders == 0:
            self.live -= buffer.nbytes
            self.cache.give(buffer.nbytes)
            self.result.events.append((buffer.origin, -buffer.nbytes))

    # -- rules ---------------------------------------------------------------------------

    def donatable(self, source: int) -> bool:
        """Return whether nothing but the current primitive uses the array's buffer."""
        return self.refs[source] == 1 and self.buffer[source].holders == 1

    def donatable_to(self, source: int, out: int) -> bool:
        """Return whether the buffer may become the result's (`is_donatable(in, out)`)."""
        graph = self.graph
        return (
            graph.itemsizes[source] == graph.itemsizes[out]
            and self.donatable(source)
            and self.buffer[source].nbytes <= graph.nbytes(out) + rules.DONATION_EXTRA
        )

    def fresh(self, out: int) -> None:
        """Allocate a dense result."""
        self.layout[out] = layouts.dense(self.graph.shapes[out])
        self.allocate(out, self.graph.nbytes(out))

    def like(self, out: int, source: int) -> None:
        """Allocate a result that lies as the source does, gaps and broadcasts included."""
        old = self.layout[source]
        self.layout[out] = Layout(
            self.graph.shapes[out], old.strides, old.contiguous, old.row, old.col, old.data_size
        )
        self.allocate(out, old.data_size * self.graph.itemsizes[out])

    def donate(self, out: int, source: int) -> None:
        """Hand the source's buffer and layout to the result."""
        old = self.layout[source]
        self.layout[out] = Layout(
            self.graph.shapes[out], old.strides, old.contiguous, old.row, old.col, old.data_size
        )
        self.share(out, self.buffer[source])

    def finish(self, node: Node) -> None:
        """Hold inputs and siblings until the worker is done, then forget dead arrays."""
        position, last_use = len(self.result.positions) - 1, self.result.last_use
        first = self.buffer[node.outputs[0]]
        held: dict[int, Buffer] = {}
        for item in node.inputs:
            buffer = self.buffer[item]
            held[id(buffer)] = buffer
            last_use[buffer.origin] = position
        for item in node.outputs[1:]:
            held[id(self.buffer[item])] = self.buffer[item]
        held.pop(id(first), None)
        for buffer in held.values():
            buffer.holders += 1
        self.pending.extend(held.values())
        for item in node.inputs:
            self.refs[item] -= len(node.outputs)
            if self.refs[item] == 0:
                self.forget(item)
        for item in node.outputs:
            if self.refs[item] == 0:
                self.forget(item)

    def forget(self, array: int) -> None:
        """Drop an array that nothing refers to any more."""
        self.release(self.buffer.pop(array))
        self.layout.pop(array, None)


class Lag:
    """Delay until the worker lets go of what a primitive held. Here: none."""

    def seen(self, machine: Machine, node: Node) -> None:
        """Look at a primitive whose inputs are still known."""

    def after(self, machine: Machine) -> None:
        """Take the buffers that the last primitive holds, and wait if the queue is full."""
        for buffer in machine.pending:
            machine.release(buffer)
        machine.pending = []


class TaskLag(Lag):
    """CPU worker that is as far behind as the scheduler lets it fall.

    mlx/transforms.cpp (0.32): after each primitive the main thread waits while more than
    `ACTIVE_TASKS` tasks are outstanding, until one completes. On the CPU backend every tenth
    dispatch ends a task (mlx/backend/cpu/encoder.h), and the dispatch that frees a
    primitive's inputs is its last one.
    """

    def __init__(self, phase: int = 0, tasks: int = rules.ACTIVE_TASKS) -> None:
        """Start with an empty queue, some dispatches into a task; `tasks` may be outstanding."""
        self._issued = phase
        self._tasks = tasks
        self._queue: deque[tuple[int, list[Buffer]]] = deque()
        self._completed = 0

    def after(self, machine: Machine) -> None:
        """Queue what the primitive holds; wait for one task if too many are outstanding."""
        self._issued += machine.dispatches
        self._queue.append((self._issued, machine.pending))
        machine.pending = []
        if self._issued // rules.DISPATCHES_PER_TASK - self._completed <= self._tasks:
            return
        self._completed += 1
        done = self._completed * rules.DISPATCHES_PER_TASK
        while self._queue and self._queue[0][0] <= done:
            for buffer in self._queue.popleft()[1]:
                machine.release(buffer)


class CommandBufferLag(Lag):
    """GPU that is as far behind as the scheduler lets it fall.

    A command buffer is committed once it holds more than some number of kernels or touches
    more than some number of elements (mlx/backend/metal/device.cpp 0.32, `needs_commit`),
    and lets go of all its arrays when it completes; `ACTIVE_TASKS` of them may be
    outstanding.
    """

    def __init__(self) -> None:
        """Start with an empty command buffer."""
        self._queue: deque[list[Buffer]] = deque()
        self._open: list[Buffer] = []
        self._touched: set[int] = set()
        self._kernels = self._elements = 0

    def seen(self, machine: Machine, node: Node) -> None:
        """Count the kernels and the elements that they touch for the first time."""
        kernels = machine.dispatches - 1
        self._kernels += kernels
        if not kernels:
            return
        for item in (*node.inputs, *node.outputs):
            buffer = id(machine.buffer[item])
            if buffer not in self._touched:
                self._touched.add(buffer)
                self._elements += machine.layout[item].data_size

    def after(self, machine: Machine) -> None:
        """Add what the primitive holds; commit, and wait for one if too many are out."""
        self._open += machine.pending
        machine.pending = []
        full = self._kernels > rules.METAL_KERNELS or self._elements >> 20 > rules.METAL_MEBI
        if not full:
            return
        self._queue.append(self._open)
        self._open, self._kernels, self._elements = [], 0, 0
        self._touched.clear()
        if len(self._queue) > rules.ACTIVE_TASKS:
            for buffer in self._queue.popleft():
                machine.release(buffer)
