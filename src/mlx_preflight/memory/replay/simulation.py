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
        loops: Tokens that its loops over tokens run over, where these were cut short.
    """

    graph: Graph
    wanted: Sequence[int]
    held: Sequence[int]
    outputs: dict[int, str]
    queries: int
    keys: int
    compiled: bool
    beside: Sequence[Node] = ()
    loops: int = 0


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
class Prepared:
    """A step, fused and in order, and a replay whose peak no other one exceeds."""

    step: Step
    graph: Graph
    order: list[int]
    bound: Replay

    def simulated(self, replay: Replay, lowest: int, highest: int) -> SimulatedStep:
        """Return the step with one of its replays."""
        return SimulatedStep(self.step, self.graph, self.order, replay, lowest, highest)


def ordered(step: Step) -> tuple[Graph, list[int]]:
    """Return a step's graph as it is fused, and the order in which it runs."""
    graph = fusion.fuse(step.graph, None if step.compiled else rules.ACTIVATIONS)
    graph.nodes += step.beside
    return graph, schedule.order(graph, step.wanted)


def prepare(step: Step, backend: str) -> Prepared:
    """Fuse, order and replay a step once, on the CPU one task further behind than it falls."""
    graph, order = ordered(step)
    lag = TaskLag(tasks=rules.ACTIVE_TASKS + 1) if backend == "cpu" else CommandBufferLag()
    return Prepared(step, graph, order, _replay(step, graph, order, lag, backend))


def at_once(step: Step, backend: str) -> Prepared:
    """Prepare a step with a replay that frees everything at once, and keeps no buffers."""
    graph, order = ordered(step)
    page = 1 if backend == "cpu" else rules.METAL_PAGE
    keep, cache = [*step.wanted, *step.held], BufferCache(page, 0)
    bound = run(Machine(graph, order, keep, Lag(), page=page, cache=cache))
    return Prepared(step, graph, order, bound)


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


def replays(prepared: Prepared, backend: str) -> list[Replay]:
    """Replay one step with every run-ahead that the backend may have.

    On the CPU a task may end at any of its dispatches, since they are counted through all
    evaluations.
    """
    step, graph, order = prepared.step, prepared.graph, prepared.order
    lags: list[Lag] = [CommandBufferLag()]
    if backend == "cpu":
        lags = [TaskLag(phase) for phase in range(rules.DISPATCHES_PER_TASK)]
    return [_replay(step, graph, order, lag, backend) for lag in lags]


def choose(peaks: Sequence[int], times: int | None) -> int:
    """Return which replay counts, by the peaks of all.

    A long run meets every timing, and the highest peak counts. Of a step that happens only some
    `times`, the replay nearest to the highest peak to be expected counts.
    """
    if times is None:
        return peaks.index(max(peaks))
    expected = _expected_highest(sorted(peaks), times)
    return min(range(len(peaks)), key=lambda index: abs(peaks[index] - expected))


def _simulate(prepared: Prepared, backend: str, times: int | None = None) -> SimulatedStep:
    """Replay one step, and return the replay that counts."""
    every = replays(prepared, backend) if backend == "cpu" else [prepared.bound]
    peaks = [replay.peak_bytes for replay in every]
    best = every[choose(peaks, times)]
    return prepared.simulated(best, min(peaks), max(peaks))


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
    prepared = [prepare(step, backend) for step in steps]
    prepared.sort(key=lambda item: item.bound.peak_bytes, reverse=True)
    best = _simulate(prepared[0], backend, times)
    for item in prepared[1:]:
        if item.bound.peak_bytes > best.replay.peak_bytes:
            best = max(
                best, _simulate(item, backend, times), key=lambda found: found.replay.peak_bytes
            )
    return best
