"""Trace what MLX-LM runs, on lazy arrays: nothing is allocated, whatever the model's size.

The step is the one of mlx_lm/tuner/trainer.py (0.32): value and gradient of the loss,
optimizer update, with the model's and the optimizer's state as inputs and outputs.
`mx.export_function` hands over every primitive with shapes and dtypes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from mlx_preflight.memory import architecture, loop, stand_ins
from mlx_preflight.memory.graph import Graph, Recorder
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.simulation import Step

State = list[Any]


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the arrays of nested dicts and lists in MLX's order (python/src/trees.cpp)."""
    import mlx.core as mx  # noqa: PLC0415  (lazy, see the style points)

    if isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, mx.array):
        yield tree


def fill(tree: Any, values: Iterator[Any]) -> Any:
    """Put arrays into a tree in the order of `leaves`, in place for dicts and lists."""
    import mlx.core as mx  # noqa: PLC0415

    if isinstance(tree, dict):
        for key in tree:
            tree[key] = fill(tree[key], values)
        return tree
    if isinstance(tree, list):
        tree[:] = [fill(item, values) for item in tree]
        return tree
    if isinstance(tree, tuple):
        return tuple(fill(item, values) for item in tree)
    return next(values) if isinstance(tree, mx.array) else tree


def training(model: Any, settings: Settings) -> list[Step]:
    """Trace the training steps that can have the highest peak.

    The very first step makes the optimizer's state. With accumulation, the first step of a
    cycle adds to nothing and applies nothing, the last one does both, and those between only
    add.
    """
    cycle = settings.grad_accumulation_steps
    optimizer = architecture.optimizer(model, settings)
    given = list(leaves(architecture.optimizer(model, settings, initialised=False).state))
    kinds = {(index > 0, index == cycle - 1) for index in range(cycle)}
    steps = [
        _training(model, optimizer, settings, add=add, update=update)
        for add, update in sorted(kinds)
    ]
    labels = steps[0].graph.labels
    moments = [item for item, label in labels.items() if label == "optimizer state"]
    return [loop.first(steps[0], moments[len(given) :], update=cycle == 1), *steps]


def _training(model: Any, optimizer: Any, settings: Settings, *, add: bool, update: bool) -> Step:
    """Trace one training step.

    Args:
        model: An mlx_lm model with adapters, in training mode, never evaluated.
        optimizer: An initialised optimizer of mlx.optimizers.
        settings: Batch, row length, checkpointing and accumulation.
        add: Whether earlier gradients are added.
        update: Whether the gradients are applied.
    """
    import mlx.core as mx  # noqa: PLC0415

    state: State = [model.state, optimizer.state]
    previous = list(leaves(model.trainable_parameters())) if add else []
    batch = mx.zeros((settings.batch_size, settings.row_tokens), mx.int32)
    lengths = mx.zeros((settings.batch_size, 2), mx.int32)
    arguments = [batch, lengths, *previous, *leaves(state)]
    labels = _labels(model, optimizer, len(previous))
    evaluate = _checkpointed if settings.grad_checkpoint else _plain

    def step(*flat: Any) -> list[Any]:
        values = iter(flat[2:])
        before = fill(model.trainable_parameters(), values) if add else None
        fill(state, values)
        loss, tokens, gradient = evaluate(model, flat[0], flat[1])
        kept = _advance(model, optimizer, gradient, before, settings, update=update)
        return [loss, tokens, *leaves(kept), *leaves(state)]

    with kernels(settings):
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


def kernels(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Return a context in which functions are traced as the backend's kernels run them."""
    if settings.backend != "cpu":
        return stand_ins.fused(inference=settings.inference)
    return contextlib.nullcontext()


def export(step: Callable[..., list[Any]], arguments: list[Any], labels: list[str]) -> Graph:
    """Trace a function and return its graph, with a label for each argument."""
    import mlx.core as mx  # noqa: PLC0415

    recorder = Recorder()
    mx.export_function(recorder, step, *arguments)
    graph = recorder.graph
    graph.labels = dict(zip(graph.inputs, labels, strict=True))
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
    from mlx.utils import tree_map  # noqa: PLC0415

    steps = settings.grad_accumulation_steps
    if before is not None:
        gradient = tree_map(lambda x, y: x + y, gradient, before)
    if not update:
        return gradient
    if steps > 1:
        gradient = tree_map(lambda x: x / steps, gradient)
    optimizer.update(model, gradient)
    return None


def _plain(model: Any, batch: Any, lengths: Any) -> tuple[Any, Any, Any]:
    from mlx import nn  # noqa: PLC0415
    from mlx_lm.tuner.trainer import default_loss  # noqa: PLC0415

    (loss, tokens), gradient = nn.value_and_grad(model, default_loss)(model, batch, lengths)
    return loss, tokens, gradient


def _checkpointed(model: Any, batch: Any, lengths: Any) -> tuple[Any, Any, Any]:
    from mlx_preflight.memory import checkpointing  # noqa: PLC0415

    return checkpointing.value_and_gradient(model, batch, lengths)


def _restore_checkpoints(graph: Graph) -> None:
    """Rename the stand-ins of `CustomTransforms`, which cannot be exported.

    A forward stand-in is a `Depends` with one result; the primitive that it stands for
    reads its arguments first and the result last.
    """
    for node in graph.nodes:
        if node.name == "Depends" and len(node.outputs) == 1:
            node.name = "CustomTransforms"
            node.inputs = [*node.inputs[1:], node.inputs[0]]
