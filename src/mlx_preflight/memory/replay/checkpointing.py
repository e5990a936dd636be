"""The backward pass of a checkpointed model, built out of primitives that can be exported.

`mx.checkpoint(f)` computes `f`, and in the backward pass `vjp(f, depends(inputs, outputs),
cotangents)` (mlx/transforms.cpp, 0.32). Its primitive `CustomTransforms` cannot be exported,
so the calls of the layers are walked back here by hand. mlx_lm wraps every layer of the type of
`model.layers[0]` (mlx_lm/tuner/trainer.py, `grad_checkpoint`).

What a call reads is a result of an earlier one as it is, or is computed from such results and
from trained arrays outside these layers: by a norm between loops, or by layers of another type.
That part is not checkpointed, and MLX differentiates it from call to call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.tuner.trainer import default_loss

from mlx_preflight.memory.replay.graph import Graph, Recorder
from mlx_preflight.memory.replay.layer_calls import Call, cut_off, filled, recorded
from mlx_preflight.memory.replay.stand_ins import replaced
from mlx_preflight.memory.replay.trees import fill, leaves

Sources = Mapping[int, frozenset[int]]
"""Sources by the place of what is computed from them."""


class _ReachedError(Exception):
    """A replayed model arrived at the call that was asked for."""


def plain(model: Any, batch: Any, lengths: Any) -> tuple[Any, Any, Any]:
    """Return loss, tokens and the gradients of the trainable parameters."""
    (loss, tokens), gradient = nn.value_and_grad(model, default_loss)(model, batch, lengths)
    return loss, tokens, gradient


def value_and_gradient(model: Any, batch: Any, lengths: Any) -> tuple[Any, Any, Any]:
    """Return the same with every call of a layer checkpointed.

    A model that calls none of its layers, but only their parts, is not checkpointed at all.
    """
    calls = recorded(model, batch, lengths)
    if not calls:
        return plain(model, batch, lengths)
    backward = _Backward(model, batch, lengths, calls)
    if backward.simple:
        return backward.run()
    with cut_off(model, backward.outside):
        calls = recorded(model, batch, lengths, cut=True)
    return _Backward(model, batch, lengths, calls, cut=True).run()


class _Backward:
    """The calls of a step, walked back from the loss."""

    def __init__(
        self, model: Any, batch: Any, lengths: Any, calls: list[Call], *, cut: bool = False
    ) -> None:
        self.model, self.batch, self.lengths, self.calls = model, batch, lengths, calls
        self.cut = cut
        self.kind = type(model.layers[0])
        self.forward = self.kind.__call__
        self.tree = model.trainable_parameters()
        trained = list(leaves(self.tree))
        inside = {id(a) for call in calls for a in leaves(call.layer.trainable_parameters())}
        self.outside = [array for array in trained if id(array) not in inside]
        results = [array for call in calls for array in leaves(call.result)]
        self.sources = [*results, *self.outside]
        going = [array for call in calls for array in leaves(call.passed)]
        self.same = {id(array): place for place, array in enumerate(going)}
        self.cotangents: dict[int, Any] = {}
        self.gradients: dict[int, Any] = {}

    def run(self) -> tuple[Any, Any, Any]:
        reads = self._simple_reads() if self.simple else self._traced_reads()
        active = self._active(reads)
        end = len(self.calls)
        wanted = sorted(reads[end][0] & active)
        (loss, tokens), found = mx.value_and_grad(
            lambda *values: self._stage(end, dict(zip(wanted, values, strict=True))),
            argnums=list(range(len(wanted))),
        )(*(self.sources[place] for place in wanted))
        self._add(wanted, [found] if isinstance(found, mx.array) else found)
        for index in range(end - 1, -1, -1):
            if not active.isdisjoint(self.calls[index].places):
                self._walk_back(index, reads[index], active)
        first = self.calls[-1].places.stop
        for place, array in enumerate(self.outside, first):
            if place in self.cotangents:
                self.gradients[id(array)] = self.cotangents[place]
        return loss, tokens, self._as_tree()

    def _walk_back(self, index: int, reads: Sources, active: frozenset[int]) -> None:
        """Add the gradients of one call's parameters and inputs."""
        call = self.calls[index]
        if not any(place in self.cotangents for place in call.places):
            return
        own = list(leaves(call.layer.trainable_parameters()))
        found = self._checkpointed(call, own)
        for array, gradient in zip(own, found, strict=False):
            before = self.gradients.get(id(array))
            self.gradients[id(array)] = gradient if before is None else before + gradient
        computed: dict[int, Any] = {}
        for place, (array, gradient) in enumerate(zip(call.inputs, found[len(own) :], strict=True)):
            if (source := self.same.get(id(array))) is not None:
                self._add([source], [gradient])
            elif not active.isdisjoint(reads.get(place, ())):
                computed[place] = gradient
        if computed:
            wanted = sorted({s for place in computed for s in reads[place]} & active)
            _, inner = mx.vjp(
                lambda *values: self._stage(
                    index, dict(zip(wanted, values, strict=True)), list(computed)
                ),
                [self.sources[place] for place in wanted],
                list(computed.values()),
            )
            self._add(wanted, inner)

    def _checkpointed(self, call: Call, own: list[Any]) -> list[Any]:
        """Return the gradients of a call by its parameters and inputs, computing it again."""
        tree = [call.layer.trainable_parameters(), call.arguments, call.keywords]

        def again(*values: Any) -> list[Any]:
            feed = iter(values)
            call.layer.update(fill(tree[0], feed))
            arguments = fill(list(call.arguments), feed)
            keywords = fill(dict(call.keywords), feed)
            return list(leaves(self.forward(call.layer, *arguments, **keywords)))

        results = list(leaves(call.result))
        held = mx.depends(list(leaves(tree)), results)
        given = [
            self.cotangents[place] if place in self.cotangents else mx.zeros_like(result)
            for place, result in zip(call.places, results, strict=True)
        ]
        _, found = mx.vjp(again, held, given)
        call.layer.update(fill(tree[0], iter(own)))
        return list(found)

    def _add(self, places: Iterable[int], gradients: Iterable[Any]) -> None:
        for place, gradient in zip(places, gradients, strict=True):
            before = self.cotangents.get(place)
            self.cotangents[place] = gradient if before is None else before + gradient

    def _stage(self, index: int, values: Mapping[int, Any], places: Sequence[int] = ()) -> Any:
        """Run the model up to a call, without its layers; return some of that call's inputs.

        Args:
            index: The call; their number for the loss.
            values: What replaces sources, by place.
            places: Inputs of the call; those that are asked for.
        """
        given: list[list[Any]] = []
        end = self._replay(index, values, given)
        return end if index == len(self.calls) else [given[index][place] for place in places]

    def _replay(self, stop: int, values: Mapping[int, Any], given: list[list[Any]]) -> Any:
        """Run the model with results for its layers; note what every call is given."""
        rest = mx.stop_gradient if self.cut else _itself
        source = [
            values[place] if place in values else rest(array)
            for place, array in enumerate(self.sources)
        ]
        position = {id(a): p for p, a in enumerate(self.outside, self.calls[-1].places.stop)}

        def call(_layer: Any, *arguments: Any, **keywords: Any) -> Any:
            given.append(list(leaves([arguments, keywords])))
            if len(given) > stop:
                raise _ReachedError
            made = self.calls[len(given) - 1]
            return filled(made.result, [source[place] for place in made.places])

        trained = list(leaves(self.tree))
        if self.outside:
            new = [source[position[id(a)]] if id(a) in position else a for a in trained]
            self.model.update(fill(self.model.trainable_parameters(), iter(new)))
        try:
            with replaced(self.kind, {"__call__": call}):
                return default_loss(self.model, self.batch, self.lengths)
        except _ReachedError:
            return None
        finally:
            if self.outside:
                self.model.update(fill(self.model.trainable_parameters(), iter(trained)))

    @property
    def simple(self) -> bool:
        """Return whether each call has one result, which the next one or the loss reads."""
        if self.outside or any(len(call.places) > 1 for call in self.calls):
            return False
        known = {*self.same, *map(id, self.calls[0].inputs)}
        return all(id(a) in known for call in self.calls for a in call.inputs if _is_real(a))

    def _simple_reads(self) -> list[Sources]:
        """Return, per call and for the loss, what each input is computed from."""
        last = frozenset([self.calls[-1].places.start])
        return [*(self._direct(call.inputs) for call in self.calls), {0: last}]

    def _direct(self, given: Sequence[Any]) -> Sources:
        """Return the sources that are inputs as they are."""
        places = ((place, self.same.get(id(array))) for place, array in enumerate(given))
        return {place: frozenset([source]) for place, source in places if source is not None}

    def _traced_reads(self) -> list[Sources]:
        """Return the same of any model, from a trace of it without its layers."""
        given: list[list[Any]] = []
        recorder = Recorder()

        def every(*values: Any) -> list[Any]:
            given.clear()
            loss, _ = self._replay(len(self.calls), dict(enumerate(values)), given)
            return [*leaves(given), loss]

        mx.export_function(recorder, every, *self.sources)
        found = iter(_reached(recorder.graph))
        reads: list[Sources] = []
        for arrays in given:
            each = {place: next(found) for place in range(len(arrays))}
            reads.append({place: sources for place, sources in each.items() if sources})
        return [*reads, {0: next(found)}]

    def _active(self, reads: Sequence[Sources]) -> frozenset[int]:
        """Return the sources that a gradient is wanted of, or that depend on such ones."""
        first = self.calls[-1].places.stop
        active = set(range(first, len(self.sources)))
        for call, sources in zip(self.calls, reads, strict=False):
            read = set[int]().union(*sources.values())
            if not active.isdisjoint(read) or list(leaves(call.layer.trainable_parameters())):
                active.update(call.places)
        return frozenset(active)

    def _as_tree(self) -> Any:
        """Arrange the gradients as the model's trainable parameters."""
        found = (
            self.gradients[id(array)] if id(array) in self.gradients else mx.zeros_like(array)
            for array in leaves(self.tree)
        )
        return fill(self.model.trainable_parameters(), found)


def _itself(array: Any) -> Any:

    return array


def _is_real(array: Any) -> bool:
    return bool(mx.issubdtype(array.dtype, mx.floating))


def _reached(graph: Graph) -> list[frozenset[int]]:
    """Return, for every result of a graph, the places of the arguments that it depends on."""
    found = {item: frozenset([place]) for place, item in enumerate(graph.inputs)}
    for node in graph.nodes:
        read = frozenset[int]().union(*(found.get(item, frozenset()) for item in node.inputs))
        found.update(dict.fromkeys(node.outputs, read))
    return [found.get(item, frozenset()) for item in graph.outputs]
