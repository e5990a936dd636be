"""Replays of traced steps on the buffers of a backend, up to the one with the highest peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_preflight.memory.replay import fusion, primitives, rules, schedule
from mlx_preflight.memory.replay.buffer_cache import BufferCache
from mlx_preflight.memory.replay.graph import Graph, Node
from mlx_preflight.memory.replay.liveness import CommandBufferLag, Lag, Machine, Replay, TaskLag


@dataclass(frozen=True, slots=True)
class Step:
    """One traced evaluation.

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
class SimulatedStep:
    """A step, the graph and order in which it ran, and what its buffers did.

    Attributes:
        lowest_bytes: Peak of the luckiest timing of this step.
        highest_bytes: Peak of the unluckiest one.
    """

    step: Step
    graph: Graph
    order: list[int]
    replay: Replay
    lowest_bytes: int
    highest_bytes: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A step, fused and in order, and a replay whose peak no other one exceeds."""

    step: Step
    graph: Graph
    order: list[int]
    bound: Replay


def _prepare(step: Step, backend: str) -> _Prepared:
    """Fuse, order and replay a step once, on the CPU one task further behind than it falls."""
    graph = fusion.fuse(step.graph, None if step.compiled else rules.ACTIVATIONS)
    graph.nodes += step.beside
    order = schedule.order(graph, step.wanted)
    lag = TaskLag(tasks=rules.ACTIVE_TASKS + 1) if backend == "cpu" else CommandBufferLag()
    return _Prepared(step, graph, order, _replay(step, graph, order, lag, backend))


def _replay(step: Step, graph: Graph, order: list[int], lag: Lag, backend: str) -> Replay:
    """Replay a step from an empty cache of buffers: the trainer clears it after every step."""
    cpu = backend == "cpu"
    page = 1 if cpu else rules.METAL_PAGE
    cache = BufferCache(rules.CPU_PAGE, rules.CPU_CACHE) if cpu else BufferCache(page, None)
    return run(Machine(graph, order, [*step.wanted, *step.held], lag, page=page, cache=cache))


def run(machine: Machine) -> Replay:
    """Execute every node and return what was seen."""
    graph, lag, result = machine.graph, machine.lag, machine.result
    for index in machine.order:
        node = graph.nodes[index]
        result.positions.append(len(result.events))
        machine.dispatches = 1
        primitives.execute(machine, node)
        lag.seen(machine, node)
        machine.finish(node)
        lag.after(machine)
    return result


def _simulate(prepared: _Prepared, backend: str, times: int | None = None) -> SimulatedStep:
    """Replay one step with every run-ahead that the backend may have.

    On the CPU a task may end at any of its dispatches, since they are counted through all
    evaluations: a long run meets every such phase, and the highest peak counts. Of a step that
    happens only some `times`, the replay nearest to the highest peak to be expected counts.
    """
    step, graph, order = prepared.step, prepared.graph, prepared.order
    replays = [prepared.bound]
    if backend == "cpu":
        lags = [TaskLag(phase) for phase in range(rules.DISPATCHES_PER_TASK)]
        replays = [_replay(step, graph, order, lag, backend) for lag in lags]
    best = max(replays, key=lambda replay: replay.peak_bytes)
    peaks = sorted(replay.peak_bytes for replay in replays)
    if times is not None:
        expected = _expected_highest(peaks, times)
        best = min(replays, key=lambda replay: abs(replay.peak_bytes - expected))
    return SimulatedStep(step, graph, order, best, peaks[0], peaks[-1])


def _expected_highest(peaks: Sequence[int], times: int) -> float:
    """Return the expected highest of some draws from equally likely peaks, given sorted."""
    count = len(peaks)
    shares = [((rank + 1) / count) ** times - (rank / count) ** times for rank in range(count)]
    return sum(share * peak for share, peak in zip(shares, peaks, strict=True))


def highest(steps: Sequence[Step], backend: str, times: int | None = None) -> SimulatedStep:
    """Return the replay with the highest peak; skip a step that cannot have it.

    Args:
        steps: The steps of a run.
        backend: metal, cpu or cuda.
        times: How often they happen; None for often.
    """
    prepared = [_prepare(step, backend) for step in steps]
    prepared.sort(key=lambda item: item.bound.peak_bytes, reverse=True)
    best = _simulate(prepared[0], backend, times)
    for item in prepared[1:]:
        if item.bound.peak_bytes > best.replay.peak_bytes:
            best = max(
                best, _simulate(item, backend, times), key=lambda found: found.replay.peak_bytes
            )
    return best
