"""The backward pass of a checkpointed model, built out of primitives that can be exported.

`mx.checkpoint(f)` computes `f`, and in the backward pass `vjp(f, depends(inputs, outputs),
cotangents)` (mlx/transforms.cpp, 0.32). Its primitive `CustomTransforms` cannot be exported,
so the chain of layers is walked back here by hand. mlx_lm wraps every layer of the type of
`model.layers[0]` (mlx_lm/tuner/trainer.py, `grad_checkpoint`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.tuner.trainer import default_loss

from mlx_preflight.core.errors import UsageError
from mlx_preflight.memory.replay.trees import fill, leaves


@dataclass(slots=True)
class _Call:
    """One recorded call of a layer."""

    layer: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    result: Any


@contextlib.contextmanager
def _patched(kind: type, replacement: Callable[..., Any]) -> Iterator[None]:
    original, assign = kind.__call__, functools.partial(setattr, kind, "__call__")
    assign(replacement)
    try:
        yield
    finally:
        assign(original)


def value_and_gradient(model: Any, batch: Any, lengths: Any) -> tuple[Any, Any, Any]:
    """Return loss, tokens and the gradients of the trainable parameters.

    Raises:
        UsageError: The layers do not form a simple chain, or parameters outside them train.
    """
    kind = type(model.layers[0])
    forward = kind.__call__
    calls: list[_Call] = []

    def record(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        result = _stand_in(forward(layer, *arguments, **keywords), layer, arguments, keywords)
        calls.append(_Call(layer, arguments, keywords, result))
        return result

    with _patched(kind, record):
        default_loss(model, batch, lengths)
    _check_chain(calls)

    def head(last: Any) -> Any:
        results = iter([*(call.result for call in calls[:-1]), last])
        with _patched(kind, lambda *_a, **_k: next(results)):
            return default_loss(model, batch, lengths)

    (loss, tokens), cotangent = mx.value_and_grad(head)(calls[-1].result)
    gradients = _walk_back(forward, calls, cotangent)
    return loss, tokens, _as_tree(model, gradients)


def _stand_in(result: Any, layer: Any, arguments: Any, keywords: Any) -> Any:
    """Return a result that depends on the layer's inputs, as `CustomTransforms` does."""
    inputs = [*leaves(layer.trainable_parameters()), *leaves([arguments, keywords])]
    return mx.depends([result], inputs)[0]


def _check_chain(calls: list[_Call]) -> None:
    for before, after in itertools.pairwise(calls):
        if after.arguments[0] is not before.result:
            raise UsageError(
                f"grad_checkpoint with {type(after.layer).__module__}: its layers do not form a "
                "simple chain, so the checkpointed backward pass cannot be traced",
                hint="estimate without --grad-checkpoint, or measure",
            )


def _walk_back(forward: Any, calls: list[_Call], cotangent: Any) -> dict[int, list[Any]]:
    """Return the gradients of each layer's parameters, in the order of `leaves`."""
    found: dict[int, list[Any]] = {}
    trained = [
        index for index, c in enumerate(calls) if list(leaves(c.layer.trainable_parameters()))
    ]
    for index in range(len(calls) - 1, min(trained) - 1, -1):
        call = calls[index]
        tree = [call.layer.trainable_parameters(), call.arguments, call.keywords]
        primals = list(leaves(tree))
        count = len(list(leaves(tree[0])))

        def again(*values: Any, call: _Call = call, tree: Any = tree) -> Any:
            feed = iter(values)
            call.layer.update(fill(tree[0], feed))
            arguments = fill(list(call.arguments), feed)
            keywords = fill(dict(call.keywords), feed)
            return forward(call.layer, *arguments, **keywords)

        old = list(leaves(call.layer.trainable_parameters()))
        held = mx.depends(primals, [call.result])
        _, gradients = mx.vjp(lambda *v: [again(*v)], held, [cotangent])
        call.layer.update(fill(tree[0], iter(old)))
        found[id(call.layer)] = gradients[:count]
        cotangent = gradients[count]
    return found


def _as_tree(model: Any, gradients: dict[int, list[Any]]) -> Any:
    """Arrange per-layer gradients as the model's trainable parameters."""
    by_parameter: dict[int, Any] = {}
    for layer in model.layers:
        parameters = leaves(layer.trainable_parameters())
        for parameter, gradient in zip(parameters, gradients.get(id(layer), []), strict=False):
            by_parameter[id(parameter)] = gradient
    tree = model.trainable_parameters()
    wanted = list(leaves(tree))
    missing = sum(id(item) not in by_parameter for item in wanted)
    if missing:
        raise UsageError(
            f"grad_checkpoint: {missing} trainable arrays are outside the layers, which cannot "
            "be traced",
            hint="leave the embedding out of the LoRA keys",
        )
    return fill(tree, iter([by_parameter[id(item)] for item in wanted]))
