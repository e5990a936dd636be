"""The memory of a step whose loops run over all tokens, from two traces of shorter loops.

Everything but the loops has its real size in both traces. A loop adds the same arrays with
every token, so the live bytes at a place of the step are linear in the tokens of the loops, as
long as the worker frees at once: each part of the step is continued on its own. What the worker
is behind adds to each part what it adds in the longer trace. The highest part is the peak. The
parts lie between primitives that both traces run equally often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlx_preflight.memory.replay import simulation
from mlx_preflight.memory.replay.liveness import Replay
from mlx_preflight.memory.replay.simulation import Prepared, SimulatedStep, Step

PIECES = (1, 4)
"""Pieces of a part, each with the highest moment of its own: in a loop it may be at either end or
between. A continued one is never above the real one, as the highest of lines is convex."""


Pieces = list[list[int]]
"""Where pieces end, as numbers of primitives, per size of pieces."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Highest moment of a piece of a step: its bytes and the index of its event."""

    nbytes: int
    event: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A step of all tokens.

    Attributes:
        short: The shorter trace, replayed without a lag; its peak is the highest part's.
        long: The longer one, likewise.
        share: How many times their difference lies between the shorter one and all tokens.
        peak_bytes: Peak of the timing that counts.
        lowest_bytes: That of the luckiest timing.
        highest_bytes: That of the unluckiest one.
    """

    short: SimulatedStep
    long: SimulatedStep
    share: float
    peak_bytes: int
    lowest_bytes: int
    highest_bytes: int


def highest(
    short: Sequence[Step], long: Sequence[Step], backend: str, times: int | None = None
) -> Continued:
    """Return the step with the highest peak, continued to all tokens.

    Args:
        short: The steps of a run, with short loops.
        long: The same with longer ones.
        backend: metal, cpu or cuda.
        times: How often they happen; None for often.
    """
    prepared = [simulation.at_once(step, backend) for step in long]
    best = max(range(len(long)), key=lambda index: prepared[index].bound.peak_bytes)
    return _continued(simulation.at_once(short[best], backend), prepared[best], backend, times)


def _continued(short: Prepared, long: Prepared, backend: str, times: int | None) -> Continued:
    first, second = (each.step.loops for each in (short, long))
    share = (short.step.queries - first) / (second - first) if second > first else 0.0
    pieces = _pieces(short, long)
    before, after = (
        _every(each.bound, ends) for each, ends in zip((short, long), pieces, strict=True)
    )
    grown = [
        one.nbytes + (two.nbytes - one.nbytes) * share
        for one, two in zip(before, after, strict=True)
    ]
    peaks: list[int] = []
    places: list[int] = []
    for replay in simulation.replays(long, backend):
        late = _every(replay, pieces[1])
        continued = [
            round(bytes_ + behind.nbytes - two.nbytes)
            for bytes_, behind, two in zip(grown, late, after, strict=True)
        ]
        places.append(max(range(len(continued)), key=continued.__getitem__))
        peaks.append(continued[places[-1]])
    best = simulation.choose(peaks, times)
    ends = (before[places[best]], after[places[best]])
    one, two = (_at(each, moment) for each, moment in zip((short, long), ends, strict=True))
    return Continued(one, two, share, peaks[best], min(peaks), max(peaks))


def _at(prepared: Prepared, moment: Moment) -> SimulatedStep:
    """Return a trace whose peak is a moment of it."""
    replay = replace(prepared.bound, peak_bytes=moment.nbytes, peak_event=moment.event)
    return prepared.simulated(replay, moment.nbytes, moment.nbytes)


def _every(replay: Replay, pieces: Pieces) -> list[Moment]:
    """Return the highest moments of pieces of every size."""
    return [moment for ends in pieces for moment in _highest(replay, ends)]


def _pieces(short: Prepared, long: Prepared) -> tuple[Pieces, Pieces]:
    """Return where the same pieces of two traces end, as numbers of primitives, per size."""
    names = [_names(each) for each in (short, long)]
    counts = [Counter(each) for each in names]
    fixed = {name for name, count in counts[0].items() if counts[1][name] == count}
    places = [[i for i, name in enumerate(each) if name in fixed] for each in names]
    kinds = [[each[i] for i in found] for each, found in zip(names, places, strict=True)]
    if kinds[0] != kinds[1]:
        places = [[], []]
    short_ends, long_ends = (
        [_ends(found, len(each), pieces) for pieces in PIECES]
        for found, each in zip(places, names, strict=True)
    )
    return short_ends, long_ends


def _names(found: Prepared) -> list[tuple[object, ...]]:
    """Return what tells primitives apart, in the order in which they run."""
    shapes = found.graph.shapes
    return [
        (node.name, *(shapes[item] for item in (*node.outputs, *node.inputs[:3])))
        for node in (found.graph.nodes[index] for index in found.order)
    ]


def _ends(places: Sequence[int], count: int, pieces: int) -> list[int]:
    """Return where pieces end: those between the places, and the places themselves."""
    ends: list[int] = []
    start = 0
    for place in [*places, count]:
        ends += [start + (place - start) * piece // pieces for piece in range(1, pieces + 1)]
        if place < count:
            ends.append(place + 1)
        start = place + 1
    return ends


def _highest(replay: Replay, ends: Sequence[int]) -> list[Moment]:
    """Return the highest moment of every piece; an empty one has the bytes before it."""
    bounds = [*replay.positions, len(replay.events)]
    moments: list[Moment] = []
    live = start = 0
    for end in ends:
        best = Moment(live, max(start - 1, 0))
        for event in range(start, bounds[end]):
            live += replay.events[event][1]
            if live > best.nbytes:
                best = Moment(live, event)
        start = bounds[end]
        moments.append(best)
    return moments
