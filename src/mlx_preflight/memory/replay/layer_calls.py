"""The calls of a model's layers in one step, and what else the model computes between them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.tuner.trainer import default_loss

from mlx_preflight.memory.replay.stand_ins import replaced
from mlx_preflight.memory.replay.trees import fill, leaves


@dataclass(slots=True)
class Call:
    """One recorded call of a layer.

    Attributes:
        layer: Whose call it is.
        arguments: What it was given.
        keywords: Likewise, by name.
        result: What it returned.
        passed: What the model went on with in its place.
        places: Places of its results among the sources.
    """

    layer: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    result: Any
    passed: Any
    places: range

    @property
    def inputs(self) -> list[Any]:
        """Return the arrays that it is given beside its layer's."""
        return list(leaves([self.arguments, self.keywords]))


@contextlib.contextmanager
def cut_off(model: Any, arrays: Sequence[Any]) -> Iterator[None]:
    """Let a model read the arrays as a differentiated function does, so that both agree."""
    trained, cut = list(leaves(model.trainable_parameters())), {id(a) for a in arrays}
    new = (mx.stop_gradient(a) if id(a) in cut else a for a in trained)
    model.update(fill(model.trainable_parameters(), new))
    try:
        yield
    finally:
        model.update(fill(model.trainable_parameters(), iter(trained)))


def recorded(model: Any, batch: Any, lengths: Any, *, cut: bool = False) -> list[Call]:
    """Run the model and return the calls of its layers, in order.

    Args:
        model: With adapters.
        batch: Rows of tokens.
        lengths: Where the trained tokens of each begin and end.
        cut: Whether the model goes on with what a function of the results would read.
    """
    kind = type(model.layers[0])
    forward, calls = kind.__call__, list[Call]()

    def record(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        made = forward(layer, *arguments, **keywords)
        inputs = [*leaves(layer.trainable_parameters()), *leaves([arguments, keywords])]
        # Every result depends on the layer's inputs, as `CustomTransforms` makes it.
        flat = mx.depends(list(leaves(made)), inputs)
        first = calls[-1].places.stop if calls else 0
        passed = [mx.stop_gradient(array) for array in flat] if cut else flat
        result, going = filled(made, flat), filled(made, passed)
        places = range(first, first + len(flat))
        calls.append(Call(layer, arguments, keywords, result, going, places))
        return going

    with replaced(kind, {"__call__": record}):
        default_loss(model, batch, lengths)
    return calls


def filled(tree: Any, values: Sequence[Any]) -> Any:
    """Return a result of the same form with other arrays."""
    copy: Callable[[Any], Any] = dict if isinstance(tree, dict) else list
    whole = copy(tree) if isinstance(tree, dict | list) else tree
    return fill(whole, iter(values))
