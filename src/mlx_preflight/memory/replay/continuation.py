"""The memory of a step whose loops run over all tokens, from two traces of shorter loops.

Everything but the loops has its real size in both traces. A loop adds the same arrays with
every token, so the live bytes at a place of the step are linear in the tokens of the loops: each
part of the step is continued on its own, and the highest part is the peak. The parts lie between
primitives that both traces run equally often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_preflight.memory.replay import sequential, simulation
from mlx_preflight.memory.replay.liveness import Replay
from mlx_preflight.memory.replay.simulation import Prepared, SimulatedStep, Step

PIECES = 4
"""Pieces of a part: inside a loop the bytes rise or fall, and either end may be the highest."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Highest moment of a piece of a step: its bytes and the index of its event."""

    nbytes: int
    event: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A step of all tokens.

    Attributes:
        short: The shorter trace; its replay says where its highest moment is.
        long: The longer one, likewise at the same piece.
        share: How many times their difference lies between the shorter one and all tokens.
        peak_bytes: Continued peak of the replay that counts.
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
        short: The steps of a run, with loops over `sequential.SHORT` tokens.
        long: The same with `sequential.LONG`.
        backend: metal, cpu or cuda.
        times: How often they happen; None for often.
    """
    found = [_continued(*steps, backend, times) for steps in zip(short, long, strict=True)]
    return max(found, key=lambda each: each.peak_bytes)


def _continued(short: Step, long: Step, backend: str, times: int | None) -> Continued:
    tokens = min(sequential.LONG, short.queries) - sequential.SHORT
    share = max(short.queries - sequential.SHORT, 0) / tokens if tokens > 0 else 0.0
    prepared = [simulation.prepare(step, backend) for step in (short, long)]
    replays = [simulation.replays(each, backend) for each in prepared]
    pieces = _pieces(*prepared)
    peaks: list[int] = []
    moments: list[tuple[Moment, Moment]] = []
    for both in zip(*replays, strict=True):
        pairs = [_highest(replay, ends) for replay, ends in zip(both, pieces, strict=True)]
        peak, place = _peak(*pairs, share)
        peaks.append(peak)
        moments.append((pairs[0][place], pairs[1][place]))
    best = simulation.choose(peaks, times)
    simulated = []
    for each, replay, moment in zip(
        prepared, (replays[0][best], replays[1][best]), moments[best], strict=True
    ):
        replay.peak_bytes, replay.peak_event = moment.nbytes, moment.event
        simulated.append(each.simulated(replay, moment.nbytes, moment.nbytes))
    return Continued(*simulated, share, peaks[best], min(peaks), max(peaks))


def _pieces(short: Prepared, long: Prepared) -> tuple[list[int], list[int]]:
    """Return where the same pieces of two traces end, as numbers of primitives."""
    names = [_names(each) for each in (short, long)]
    counts = [Counter(each) for each in names]
    fixed = {name for name, count in counts[0].items() if counts[1][name] == count}
    places = [[i for i, name in enumerate(each) if name in fixed] for each in names]
    kinds = [[each[i] for i in found] for each, found in zip(names, places, strict=True)]
    if kinds[0] != kinds[1]:
        places = [[], []]
    return _ends(places[0], len(names[0])), _ends(places[1], len(names[1]))


def _names(found: Prepared) -> list[tuple[object, ...]]:
    """Return what tells primitives apart, in the order in which they run."""
    shapes = found.graph.shapes
    return [
        (node.name, *(shapes[item] for item in (*node.outputs, *node.inputs[:3])))
        for node in (found.graph.nodes[index] for index in found.order)
    ]


def _ends(places: Sequence[int], count: int) -> list[int]:
    """Return where pieces end: those between the places, and the places themselves."""
    ends: list[int] = []
    start = 0
    for place in [*places, count]:
        ends += [start + (place - start) * piece // PIECES for piece in range(1, PIECES + 1)]
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


def _peak(short: Sequence[Moment], long: Sequence[Moment], share: float) -> tuple[int, int]:
    """Return the highest continued moment and its place."""
    continued = [
        round(before.nbytes + (after.nbytes - before.nbytes) * share)
        for before, after in zip(short, long, strict=True)
    ]
    best = max(range(len(continued)), key=continued.__getitem__)
    return continued[best], best
