"""The evaluation order and the buffers follow MLX's rules on graphs made by hand."""

from __future__ import annotations

from mlx_preflight.memory.replay import liveness, schedule, simulation
from mlx_preflight.memory.replay.graph import Graph, Node


def graph(nodes: list[tuple[str, list[int], list[int]]], arrays: int, inputs: list[int]) -> Graph:
    made = Graph()
    for _ in range(arrays):
        made.add((1024,), 4, "float32")
    made.nodes = [Node(*node) for node in nodes]
    made.inputs = inputs
    return made


def peak(made: Graph, wanted: list[int], lag: liveness.Lag) -> int:
    order = schedule.order(made, wanted)
    return simulation.run(liveness.Machine(made, order, [*wanted, *made.inputs], lag)).peak_bytes


def test_a_chain_runs_from_its_beginning() -> None:
    """Inputs come before their readers."""
    chain = graph([("Exp", [0], [1]), ("Sin", [1], [2]), ("Cos", [2], [3])], 4, [0])
    assert schedule.order(chain, [3]) == [0, 1, 2]


def test_what_nobody_wants_does_not_run() -> None:
    """A primitive whose result leads nowhere is left out."""
    made = graph([("Exp", [0], [1]), ("Sin", [0], [2])], 3, [0])
    assert schedule.order(made, [2]) == [1]


def test_branches_run_breadth_first_from_the_last_input() -> None:
    """The tape is built from the result backwards and executed from its end."""
    made = graph(
        [("Exp", [0], [1]), ("Sin", [1], [2]), ("Cos", [0], [3]), ("Add", [2, 3], [4])], 5, [0]
    )
    assert schedule.order(made, [4]) == [0, 2, 1, 3]


def test_more_than_twenty_branches_go_down_a_level() -> None:
    """At the width limit the traversal descends before it takes the remaining inputs."""
    branches = 30
    nodes = [("Exp", [0], [1 + i]) for i in range(branches)]
    nodes += [("Sin", [1 + i], [1 + branches + i]) for i in range(branches)]
    made = graph(nodes, 1 + 2 * branches, [0])
    order = schedule.order(made, list(range(1 + branches, 1 + 2 * branches)))
    assert sorted(order) == list(range(2 * branches))
    place = {index: position for position, index in enumerate(order)}
    assert all(place[i] < place[i + branches] for i in range(branches))
    assert place[0] > place[branches - 1]


def test_an_input_that_dies_is_overwritten() -> None:
    """A chain of elementwise operations needs one buffer beside its argument."""
    chain = graph([("Exp", [0], [1]), ("Sin", [1], [2]), ("Cos", [2], [3])], 4, [0])
    assert peak(chain, [3], liveness.Lag()) == 2 * 4096


def test_an_argument_that_someone_holds_is_not_overwritten() -> None:
    """The argument is alive to the end, so both of its readers allocate."""
    made = graph([("Exp", [0], [1]), ("Sin", [0], [2]), ("Matmul", [1, 2], [3])], 4, [0])
    made.shapes = [(32, 32)] * 4
    assert peak(made, [3], liveness.Lag()) == 4 * 4096


def test_a_worker_behind_keeps_dead_buffers_alive() -> None:
    """Two hundred products in a row: those that the worker has not reached are still there."""
    steps = 200
    nodes = [("Matmul", [i, i], [i + 1]) for i in range(steps)]
    made = graph(nodes, steps + 1, [0])
    made.shapes = [(32, 32)] * (steps + 1)
    assert peak(made, [steps], liveness.Lag()) == 3 * 4096
    behind = peak(made, [steps], liveness.TaskLag())
    # Eleven tasks of ten dispatches, two dispatches a product.
    assert 50 * 4096 < behind < 62 * 4096


def test_a_command_buffer_holds_its_arrays_until_it_completes() -> None:
    """On a GPU eleven command buffers of forty kernels are outstanding."""
    steps = 1000
    nodes = [("Matmul", [i, i], [i + 1]) for i in range(steps)]
    made = graph(nodes, steps + 1, [0])
    made.shapes = [(32, 32)] * (steps + 1)
    assert 440 * 4096 < peak(made, [steps], liveness.CommandBufferLag()) < 500 * 4096


def test_large_arrays_fill_a_command_buffer_sooner() -> None:
    """Command buffers also end after some number of elements, so fewer arrays are held."""
    steps = 100
    nodes = [("Matmul", [i, i], [i + 1]) for i in range(steps)]
    made = graph(nodes, steps + 1, [0])
    made.shapes = [(8192, 8192)] * (steps + 1)
    size = 8192 * 8192 * 4
    assert peak(made, [steps], liveness.CommandBufferLag()) <= 14 * size
