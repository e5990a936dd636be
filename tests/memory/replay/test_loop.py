"""The first step of a run is evaluated as MLX-LM's loop evaluates it."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest

from mlx_preflight.memory import architecture
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import checkpointing, simulation, trace, trees
from mlx_preflight.memory.replay.graph import Graph
from mlx_preflight.memory.settings import OPTIMIZERS, Settings
from tests.memory.models import qwen, small

PHI: dict[str, Any] = {
    "model_type": "phi3",
    "num_hidden_layers": 7,
    "hidden_size": 64,
    "intermediate_size": 832,
    "num_key_value_heads": 2,
    "vocab_size": 8000,
}
"""A model whose first step has the highest peak."""


def steps(settings: Settings, **changes: Any) -> list[simulation.Step]:
    import mlx.core as mx

    with mx.stream(mx.cpu):
        model = architecture.build(qwen(**changes), settings)
        architecture.adapt(model, settings)
        return trace.training(model, settings)


def primitives(graph: Graph) -> Counter[tuple[str, tuple[int, ...], str]]:
    read = [(node.name, node.outputs[0]) for node in graph.nodes]
    return Counter((name, graph.shapes[out], graph.dtypes[out]) for name, out in read)


def state_bytes(step: simulation.Step) -> int:
    labels = step.graph.labels
    return sum(step.graph.nbytes(item) for item in labels if labels[item] == "optimizer state")


@pytest.mark.slow
@pytest.mark.parametrize("cycle", [1, 2])
def test_the_random_state_is_evaluated_before_the_sums(cycle: int) -> None:
    """The loop hands over the state first; only the first step finds it unevaluated."""
    first, *later = steps(small(grad_accumulation_steps=cycle))
    assert [node.name for node in first.beside] == ["Reshape", "Add", "Add"]
    assert all([node.name for node in step.beside] == ["Add", "Add"] for step in later)
    places = [first.wanted.index(node.outputs[0]) for node in first.beside]
    assert places == list(range(places[0], places[0] + 3))
    assert all(first.outputs[item] != "gradients" for item in first.wanted[: places[0]])


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_the_first_step_is_that_of_a_fresh_optimizer(optimizer: str) -> None:
    """It has the primitives of a step that is traced before `init`."""
    settings = small(optimizer=optimizer, num_layers=2)
    import mlx.core as mx

    made = steps(settings)[0].graph
    model = architecture.build(qwen(), settings)
    architecture.adapt(model, settings)
    fresh = architecture.optimizer(model, settings, initialised=False)
    loss = checkpointing.plain
    state = [model.state, fresh.state]
    batch = mx.zeros((1, settings.row_tokens), mx.int32)
    lengths = mx.zeros((1, 2), mx.int32)

    def step(*flat: Any) -> list[Any]:
        trees.fill(state, iter(flat[2:]))
        value, tokens, gradient = loss(model, flat[0], flat[1])
        fresh.update(model, gradient)
        return [value, tokens, *trees.leaves(state)]

    with mx.stream(mx.cpu):
        arguments = [batch, lengths, *trees.leaves(state)]
        traced = trace.export(step, arguments, ["weights"] * len(arguments))
    assert primitives(made) == primitives(traced)
    assert len(made.outputs) == len(traced.outputs)


@pytest.mark.slow
@pytest.mark.parametrize(("cycle", "kinds"), [(1, 2), (2, 3), (3, 4)])
def test_the_first_step_has_no_moments_yet(cycle: int, kinds: int) -> None:
    """Adam's moments are arguments of every later step, and results of a first update."""
    first, *later = steps(small(grad_accumulation_steps=cycle))
    assert len(later) == kinds - 1
    assert state_bytes(first) < 64
    assert all(state_bytes(step) > 10_000 for step in later)
    made = sum(name == "Full" for name in (node.name for node in first.graph.nodes))
    filled = sum(name == "Full" for name in (node.name for node in later[0].graph.nodes))
    assert (made > filled) is (cycle == 1)


@pytest.mark.slow
@pytest.mark.parametrize("cycle", [1, 2])
def test_skipping_steps_finds_the_same_peak(cycle: int) -> None:
    """The highest replay of all steps is the one that is returned."""
    traced = steps(small(grad_accumulation_steps=cycle, max_seq_length=100))
    each = [simulation.highest([step], "cpu").replay.peak_bytes for step in traced]
    assert len(set(each)) > 1
    assert simulation.highest(traced, "cpu").replay.peak_bytes == max(each)
    assert simulation.highest(traced[::-1], "cpu").replay.peak_bytes == max(each)


@pytest.mark.slow
def test_a_prediction_leaves_the_garbage_collector_on() -> None:
    """It is stopped only meanwhile, and only if it ran."""
    settings = small(num_layers=1)
    predict(qwen(), settings)
    assert gc.isenabled()
    gc.disable()
    try:
        predict(qwen(), settings)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.slow
def test_the_first_step_of_a_real_run_is_predicted() -> None:
    """A run of one step peaks within its prediction, and above that of the later steps.

    The highest of three runs, as for the prediction: on a busy machine the worker of the CPU
    backend may catch up with the main thread and free buffers early.
    """
    config = qwen(**PHI)
    settings = small(max_seq_length=148, num_layers=2, bits=8, optimizer="muon")
    first, *later = steps(settings, **PHI)
    found = simulation.highest([first], "cpu")
    runs = [measure(config, settings, steps=1, timeout_s=120).peak_bytes for _ in range(3)]
    measured = max(runs)
    assert found.lowest_bytes * 0.99 <= measured <= found.replay.peak_bytes * 1.01
    assert simulation.highest(later, "cpu").replay.peak_bytes < measured * 0.97
    assert predict(config, settings).peak_bytes == found.replay.peak_bytes
