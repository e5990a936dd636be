"""Replay traced steps on the buffers of a backend and find the one with the highest peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_preflight.memory import fusion, liveness, rules, schedule
from mlx_preflight.memory.graph import Graph
from mlx_preflight.memory.liveness import CommandBufferLag, Machine, Replay, TaskLag


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
        compiled: Whether the step runs under `mx.compile`.
    """

    graph: Graph
    wanted: Sequence[int]
    held: Sequence[int]
    outputs: dict[int, str]
    queries: int
    keys: int
    compiled: bool


@dataclass(frozen=True, slots=True)
class Simulated:
    """Hold a step, the graph and order in which it ran, and what its buffers did."""

    step: Step
    graph: Graph
    order: list[int]
    replay: Replay


def simulate(step: Step, backend: str) -> Simulated:
    """Replay one step with the run-ahead and the page size of a backend."""
    graph = fusion.fuse(step.graph) if step.compiled else step.graph
    order = schedule.order(graph, step.wanted)
    metal = backend == "metal"
    lag: liveness.Lag = TaskLag() if backend == "cpu" else CommandBufferLag()
    keep = [*step.wanted, *step.held]
    machine = Machine(graph, order, keep, lag, page=rules.METAL_PAGE if metal else 1)
    return Simulated(step, graph, order, machine.run())


def highest(steps: Sequence[Step], backend: str) -> Simulated:
    """Return the replay with the highest peak."""
    return max((simulate(step, backend) for step in steps), key=lambda s: s.replay.peak_bytes)
