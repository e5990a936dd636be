"""The highest value of one setting whose memory fits a budget, in as few predictions as can be.

Memory is a maximum of polynomials without negative terms, so it is convex in a number such as
the length of a row: a line between two known points lies above it, and its prolongation below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Start:
    """What is known before the search.

    Attributes:
        value: Value that does not fit.
        size: What it takes; infinite where that is unknown.
        floor: What the value 0 would take at least.
    """

    value: Any
    size: float
    floor: float


def first_that_fits(
    values: Sequence[Any], size_of: Callable[[int], float], start: Start, limit: float
) -> int:
    """Return the index of the highest of descending values that fits; the last where none does.

    Args:
        values: Descending.
        size_of: Returns what a value takes, by its index.
        start: A higher value, which does not fit.
        limit: What may be taken.
    """
    fails, fits = -1, len(values)
    above, below = (start.value, start.size), (0, start.floor)
    known: list[tuple[float, float]] = []
    while fits - fails > 1:
        guess = _guess(values, above, below, limit)
        index = min(max(guess, fails + 1), fits - 1)
        size = size_of(index)
        if size > limit:
            fails, above = index, (values[index], size)
            continue
        fits, below = index, (values[index], size)
        known.append(below)
        fails = max(fails, _proven(values, known, limit) - 1)
    return min(fits, len(values) - 1)


def _guess(values: Sequence[Any], above: Any, below: Any, limit: float) -> int:
    """Return the index of the highest value whose size on the line through two points fits."""
    if not _is_number(above[0]) or not below[1] < above[1] < float("inf"):
        return len(values) // 2
    reach = below[0] + (limit - below[1]) * (above[0] - below[0]) / (above[1] - below[1])
    return next((i for i, value in enumerate(values) if value <= reach), len(values) - 1)


def _proven(values: Sequence[Any], known: Sequence[Any], limit: float) -> int:
    """Return the index of the first value that the prolonged line through two points lets fit."""
    if not known[1:] or not _is_number(values[0]):
        return 0
    (x0, y0), (x1, y1) = known[-2:]
    if not (x1 > x0 and y1 > y0):
        return 0
    reach = x1 + (limit - y1) * (x1 - x0) / (y1 - y0)
    return next((i for i, value in enumerate(values) if value <= reach), len(values) - 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
