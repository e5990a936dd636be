"""Categories of the live bytes of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlx_preflight.memory.replay.simulation import SimulatedStep

CATEGORIES = (
    "weights",
    "adapters",
    "optimizer state",
    "gradients",
    "saved activations",
    "attention scores",
    "logits and loss",
    "KV cache",
    "temporaries",
)
"""Parts of the breakdown, in the order in which they are shown."""

SCORE_DIMENSIONS = 4
"""Batch, heads (also in groups, which makes it five), queries, keys."""

SAMPLES = 120
"""Points of the timeline; each is the highest moment of its share of the step."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Live bytes by category at the peak and over the step."""

    peak: dict[str, int]
    timeline: tuple[dict[str, int], ...]

    def continued(self, longer: Breakdown, share: float, peak: int) -> Breakdown:
        """Return the parts of a step of all tokens, made of two with shorter loops.

        Args:
            longer: That with the longer loops.
            share: How many times their difference lies between this one and all tokens.
            peak: Bytes at the peak.
        """
        highest = _continued(self.peak, longer.peak, share, peak)
        last = len(longer.timeline) - 1
        moments: list[dict[str, int]] = []
        for place, moment in enumerate(self.timeline):
            later = longer.timeline[round(place * last / max(len(self.timeline) - 1, 1))]
            moments.append(_continued(moment, later, share, None))
        place = max(range(len(moments)), key=lambda index: sum(moments[index].values()))
        over = [sum(each.values()) > peak for each in moments]
        kept = [
            highest if index == place else _continued(each, each, 0.0, peak if above else None)
            for index, (each, above) in enumerate(zip(moments, over, strict=True))
        ]
        return Breakdown(highest, tuple(kept))


def _continued(
    short: Mapping[str, int], long: Mapping[str, int], share: float, total: int | None
) -> dict[str, int]:
    """Return continued parts; more than they sum to is temporary, and the largest give way."""
    found = {
        name: max(round(value + (long[name] - value) * share), 0) for name, value in short.items()
    }
    if total is not None:
        rest = total - sum(found.values())
        found["temporaries"] += max(rest, 0)
        rest = min(rest, 0)
        for name in sorted(found, key=found.__getitem__, reverse=True):
            change = max(rest, -found[name])
            found[name] += change
            rest -= change
    return found


def breakdown(found: SimulatedStep, vocabulary: int, trainable: set[tuple[int, ...]]) -> Breakdown:
    """Sum the live bytes of a replay by category.

    Args:
        found: The replay.
        vocabulary: Width of the logits.
        trainable: Shapes of the trained arrays.
    """
    categories = _Categories(found, vocabulary, trainable)
    events = found.replay.events
    start = sum(1 for _ in dict.fromkeys([*found.graph.inputs, *found.graph.constants]))
    stride = max(1, -(-(len(events) - start) // SAMPLES))
    totals = dict.fromkeys(CATEGORIES, 0)
    live = highest = 0
    peak: dict[str, int] = {}
    timeline: list[dict[str, int]] = []
    moment: dict[str, int] = {}
    for index, (array, change) in enumerate(events):
        totals[categories.of(array)] += change
        live += change
        if live >= highest or not moment:
            highest, moment = live, dict(totals)
        if index == found.replay.peak_event:
            peak = dict(totals)
        if index >= start and (index - start) % stride == stride - 1:
            timeline.append(moment)
            highest, moment = 0, {}
    if moment:
        timeline.append(moment)
    return Breakdown(peak, tuple(timeline))


class _Categories:
    """Category of the array that a buffer was allocated for."""

    def __init__(
        self, found: SimulatedStep, vocabulary: int, trainable: set[tuple[int, ...]]
    ) -> None:
        self._found = found
        self._graph = found.graph
        self._vocabulary = vocabulary
        self._trainable = trainable
        self._fixed = {**found.graph.labels, **found.step.outputs}
        # A cache that grows is copied into an array of its new shape, which then becomes it.
        self._cached = {
            found.graph.shapes[array]
            for array, label in found.step.outputs.items()
            if label == "KV cache"
        }
        self._place = {
            out: place
            for place, index in enumerate(found.order)
            for out in found.graph.nodes[index].outputs
        }
        logits = (place for array, place in self._place.items() if self._is_logits(array))
        self._forward_end = min(logits, default=len(found.order))
        self._known: dict[int, str] = {}

    def of(self, array: int) -> str:
        known = self._known.get(array)
        if known is None:
            known = self._known[array] = self._fixed.get(array) or self._derived(array)
        return known

    def _is_logits(self, array: int) -> bool:
        shape = self._graph.shapes[array]
        return len(shape) > 1 and shape[-1] == self._vocabulary and self._is_activation(shape)

    def _is_activation(self, shape: tuple[int, ...]) -> bool:
        return self._found.step.queries in shape[:-1]

    def _derived(self, array: int) -> str:
        shape, step = self._graph.shapes[array], self._found.step
        if self._is_logits(array):
            return "logits and loss"
        if (
            len(shape) >= SCORE_DIMENSIONS
            and step.queries > 1
            and shape[-2:] == (step.queries, step.keys)
        ):
            return "attention scores"
        if shape in self._cached:
            return "KV cache"
        place = self._place.get(array)
        if place is not None:
            if place > self._forward_end and shape in self._trainable:
                return "gradients"
            if place < self._forward_end < self._found.replay.last_use.get(array, -1):
                return "saved activations"
        return "temporaries"
