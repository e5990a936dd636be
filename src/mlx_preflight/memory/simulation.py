"""Replay traced steps on the buffers of a backend and find the one with the highest peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_preflight.memory import fusion, rules, schedule
from mlx_preflight.memory.buffer_cache import BufferCache
from mlx_preflight.memory.graph import Graph, Node
from mlx_preflight.memory.liveness import CommandBufferLag, Lag, Machine, Replay, TaskLag


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one traced evaluation.

    Attributes:
        graph: What runs.
        wanted: Arrays handed to `mx.eval`, in order.
        held: Further arrays that Python refers to meanwhile.
        outputs: Category of results that replace an argument, by id.
        queries: Tokens that go through the model.
        keys: Tokens that they attend to.
        compiled: Whether the whole step runs under `mx.compile`, not only its activations.
        beside: Primitives that are evaluated with it but not compiled.
    """

    graph: Graph
    wanted: Sequence[int]
    held: Sequence[int]
    outputs: dict[int, str]
    queries: int
    keys: int
    compiled: bool
    beside: Sequence[Node] = ()


@dataclass(frozen=True, slots=True)
class Simulated:
    """Hold a step, the graph and order in which it ran, and what its buffers did.

    Attributes:
        lowest_bytes: Peak of the luckiest timing of this step.
    """

    step: Step
    graph: Graph
    order: list[int]
    replay: Replay
    lowest_bytes: int


def simulate(step: Step, backend: str) -> Simulated:
    """Replay one step with the run-ahead and the page size of a backend.

    On the CPU a task may end at any of its dispatches, since they are counted through all
    evaluations: a long run meets every such phase, and the highest peak counts.
    """
    graph = fusion.fuse(step.graph, None if step.compiled else rules.ACTIVATIONS)
    graph.nodes += step.beside
    order = schedule.order(graph, step.wanted)
    keep = [*step.wanted, *step.held]
    if backend == "cpu":
        lags: list[Lag] = [TaskLag(phase) for phase in range(rules.DISPATCHES_PER_TASK)]
        page = 1
    else:
        lags, page = [CommandBufferLag()], rules.METAL_PAGE
    replays = [
        Machine(graph, order, keep, lag, page=page, cache=_cache(backend)).run() for lag in lags
    ]
    peaks = [replay.peak_bytes for replay in replays]
    best = replays[peaks.index(max(peaks))]
    return Simulated(step, graph, order, best, min(peaks))


def _cache(backend: str) -> BufferCache:
    """Return an empty cache: the trainer clears it after every step."""
    if backend == "cpu":
        return BufferCache(rules.CPU_PAGE, rules.CPU_CACHE)
    return BufferCache(rules.METAL_PAGE, None)


def highest(steps: Sequence[Step], backend: str) -> Simulated:
    """Return the replay with the highest peak."""
    return max((simulate(step, backend) for step in steps), key=lambda s: s.replay.peak_bytes)
