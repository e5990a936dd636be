"""Traces of what MLX-LM runs, on lazy arrays: nothing is allocated, whatever the model's size.

The step is the one of mlx_lm/tuner/trainer.py (0.32): value and gradient of the loss,
optimizer update, with the model's and the optimizer's state as inputs and outputs.
`mx.export_function` hands over every primitive with shapes and dtypes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.tuner.trainer import default_loss

from mlx_preflight.memory import architecture
from mlx_preflight.memory.replay import checkpointing, loop, sequential, stand_ins, unexported
from mlx_preflight.memory.replay.graph import Graph, Recorder
from mlx_preflight.memory.replay.simulation import Step
from mlx_preflight.memory.replay.trees import fill, leaves
from mlx_preflight.memory.settings import Settings

State = list[Any]


def training(
    model: Any, settings: Settings, iterations: Collection[int] | None = None
) -> list[Step]:
    """Trace the training steps that can have the highest peak.

    The very first step makes the optimizer's state. With accumulation, the first step of a
    cycle adds to nothing and applies nothing, the last one does both, and those between only
    add.

    Args:
        model: An mlx_lm model with adapters, never evaluated.
        settings: The run.
        iterations: Iterations, from 1, whose batches have this width; None for all.
    """
    cycle = settings.grad_accumulation_steps
    begins = iterations is None or 1 in iterations
    later = range(cycle) if iterations is None else {i - 1 for i in iterations if i > 1}
    optimizer = architecture.optimizer(model, settings)
    given = list(leaves(architecture.optimizer(model, settings, initialised=False).state))
    places = {index % cycle for index in later}
    kinds = {(place > 0, place == cycle - 1) for place in places}
    opening = (False, cycle == 1)
    steps = {
        (add, update): _training(model, optimizer, settings, add=add, update=update)
        for add, update in sorted(kinds | {opening} if begins else kinds)
    }
    chosen = [step for kind, step in steps.items() if kind in kinds]
    if not begins:
        return chosen
    labels = steps[opening].graph.labels
    moments = [item for item, label in labels.items() if label == "optimizer state"]
    return [loop.first(steps[opening], moments[len(given) :], update=cycle == 1), *chosen]


def _training(model: Any, optimizer: Any, settings: Settings, *, add: bool, update: bool) -> Step:
    """Trace one training step.

    Args:
        model: An mlx_lm model with adapters, in training mode, never evaluated.
        optimizer: An initialised optimizer of mlx.optimizers.
        settings: Batch, row length, checkpointing and accumulation.
        add: Whether earlier gradients are added.
        update: Whether the gradients are applied.
    """
    # Without dropout nothing is drawn, and the trainer's random state is only passed on.
    key = [mx.random.key(0)] if settings.dropout else []
    state: State = [model.state, optimizer.state, key]
    previous = list(leaves(model.trainable_parameters())) if add else []
    batch = mx.zeros((settings.batch_size, settings.row_tokens), mx.int32)
    lengths = mx.zeros((settings.batch_size, 2), mx.int32)
    arguments = [batch, lengths, *previous, *leaves(state)]
    labels = [*_labels(model, optimizer, len(previous)), *["temporaries"] * len(key)]
    evaluate = checkpointing.value_and_gradient if settings.grad_checkpoint else checkpointing.plain

    def step(*flat: Any) -> list[Any]:
        values = iter(flat[2:])
        before = fill(model.trainable_parameters(), values) if add else None
        fill(state, values)
        with stand_ins.drawn(key), sequential.over(settings.row_tokens - 1):
            loss, tokens, gradient = evaluate(model, flat[0], flat[1])
        kept = _advance(model, optimizer, gradient, before, settings, update=update)
        return [loss, tokens, *leaves(kept), *leaves(state)]

    with kernels(settings, gradient=True):
        graph = export(step, arguments, labels)
    kept = 0 if update else sum(1 for _ in leaves(model.trainable_parameters()))
    loss, gradients, new = graph.outputs[:2], graph.outputs[2 : 2 + kept], graph.outputs[2 + kept :]
    beside = loop.sums(graph, loss)
    results = [node.outputs[0] for node in beside]
    # The trainer evaluates state, loss, tokens and gradients in this order.
    return Step(
        graph=graph,
        beside=beside,
        wanted=[*new, *results, *gradients],
        held=[*graph.inputs[:2], *loss],
        outputs=dict(zip(new, labels[2 + len(previous) :], strict=True))
        | dict.fromkeys(gradients, "gradients"),
        queries=settings.row_tokens - 1,
        keys=settings.row_tokens - 1,
        compiled=True,
    )


def validation(model: Any, settings: Settings) -> list[Step]:
    """Trace one batch of `evaluate` (mlx_lm/tuner/trainer.py 0.32), beside the state of a run.

    It is the forward pass alone and is not compiled; the trained arrays, the optimizer's state,
    gradients that wait for their update and the next batch of training exist meanwhile.
    """
    model.eval()
    waits = settings.grad_accumulation_steps > 1
    previous = list(leaves(model.trainable_parameters())) if waits else []
    optimizer = architecture.optimizer(model, settings)
    state: State = [model.state, optimizer.state]
    batch = mx.zeros((settings.batch_size, settings.row_tokens), mx.int32)
    lengths = mx.zeros((settings.batch_size, 2), mx.int32)
    labels = _labels(model, optimizer, len(previous))

    def evaluate(*flat: Any) -> list[Any]:
        fill(state, iter(flat[2 + len(previous) :]))
        with sequential.over(settings.row_tokens - 1):
            loss, tokens = default_loss(model, flat[0], flat[1])
        return [loss * tokens, tokens]

    with kernels(settings, gradient=False):
        graph = export(evaluate, [batch, lengths, *previous, *leaves(state)], labels)
    return [
        Step(
            graph=graph,
            wanted=graph.outputs,
            held=graph.inputs,
            outputs={},
            queries=settings.row_tokens - 1,
            keys=settings.row_tokens - 1,
            compiled=False,
        )
    ]


def kernels(settings: Settings, *, gradient: bool) -> contextlib.AbstractContextManager[None]:
    """Return a context in which functions are traced as the backend's kernels run them.

    Args:
        settings: The run.
        gradient: Whether one is wanted: the kernels of mlx_lm's own have none.
    """
    if settings.backend == "cpu":
        return contextlib.nullcontext()
    own = settings.backend == "metal" and not gradient
    return stand_ins.fused(inference=settings.inference, own=own)


def export(step: Callable[..., list[Any]], arguments: list[Any], labels: list[str]) -> Graph:
    """Trace a function and return its graph, with a label for each argument."""
    recorder = Recorder()
    with unexported.exportable():
        mx.export_function(recorder, step, *arguments)
    graph = recorder.graph
    graph.labels = dict(zip(graph.inputs, labels, strict=True))
    unexported.restore(graph)
    stand_ins.restore(graph)
    _restore_checkpoints(graph)
    return graph


def _labels(model: Any, optimizer: Any, previous: int) -> list[str]:
    """Return the category of every argument of the step, in order."""
    trainable = {id(array) for array in leaves(model.trainable_parameters())}
    weights = ["adapters" if id(a) in trainable else "weights" for a in leaves(model.state)]
    moments = ["optimizer state" for _ in leaves(optimizer.state)]
    return ["temporaries", "temporaries", *["gradients"] * previous, *weights, *moments]


def _advance(
    model: Any, optimizer: Any, gradient: Any, before: Any, settings: Settings, *, update: bool
) -> Any:
    """Accumulate and apply gradients as the trainer does; return what it keeps of them."""
    steps = settings.grad_accumulation_steps
    if before is not None:
        gradient = tree_map(lambda x, y: x + y, gradient, before)
    if not update:
        return gradient
    gradient = stand_ins.averaged(gradient, settings.ranks)
    if steps > 1:
        gradient = tree_map(lambda x: x / steps, gradient)
    optimizer.update(model, gradient)
    return None


def _restore_checkpoints(graph: Graph) -> None:
    """Rename the stand-ins of `CustomTransforms`, which cannot be exported.

    A forward stand-in is a `Depends` of results on inputs; the primitive that it stands for
    reads its inputs first and the results last. The backward pass has a `Depends` of these
    inputs on its results.
    """
    every = [node for node in graph.nodes if node.name == "Depends"]
    backward = {(*node.inputs[len(node.outputs) :], *node.outputs) for node in every}
    for node in every:
        if tuple(node.inputs) not in backward:
            count = len(node.outputs)
            node.name = "CustomTransforms"
            node.inputs = [*node.inputs[count:], *node.inputs[:count]]
