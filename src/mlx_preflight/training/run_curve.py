"""Seconds of a step by its width, from rows of progress that each stand for several widths.

A step is a fixed part, one that grows with the tokens of its rows, one that grows with their
square, and what the first step of a width takes more. Sums of these over the steps between two
rows of progress are enough to find the parts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from mlx_preflight.core.errors import ResultError
from mlx_preflight.training import step_times
from mlx_preflight.training.step_times import Curve, StepTimes

MOST_WINDOWS = 200
"""Rows of progress that are kept; of more, neighbours are joined."""

LEAST_WINDOWS = 4
"""Rows of progress from which a run says something: the first one compiles."""

ERROR, ERROR_ALONE = 0.15, 0.25
"""Share by which a time from several earlier runs, or from a single one, may be off beside its
spread, see docs/training-time.md."""

LEAST_S = 0.05
"""Seconds of a row of progress: the trainer rounds validations, which are taken out, to 0.01 s."""

MOST_STEPS, MOST_TOKENS, MOST_SECONDS = 10**9, 2**24, 10**7
"""Steps of a run, tokens of a row, and seconds of a row of progress: beyond them is no run."""


@dataclass(frozen=True, slots=True)
class Window:
    """Steps between two rows of progress.

    Attributes:
        steps: How many.
        tokens: Sum of their widths.
        squares: Sum of the squares of their widths.
        firsts: How many were the first of their width.
        seconds: What they took, validations taken out.
    """

    steps: int
    tokens: int
    squares: int
    firsts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """A validation.

    Attributes:
        batches: How many.
        tokens: Sum of their widths.
        seconds: What it took.
    """

    batches: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Steps:
    """What the steps of a run took.

    Attributes:
        widths: Least and most tokens of a row.
        windows: Rows of progress, in order.
        checks: Validations, in order.
        paged: Whether the system wrote to swap meanwhile.
    """

    widths: tuple[int, int]
    windows: tuple[Window, ...]
    checks: tuple[Check, ...]
    paged: bool

    @property
    def count(self) -> int:
        """Return the number of steps."""
        return sum(window.steps for window in self.windows)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "widths": list(self.widths),
            "windows": [list(astuple(window)) for window in self.windows],
            "checks": [list(astuple(check)) for check in self.checks],
            "paged": self.paged,
        }


def joined(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Return at most `MOST_WINDOWS` windows; the first one, which compiles, stays by itself.

    Rows that come at one time, or whose validation is rounded up, say nothing each alone.
    """
    first, rest = tuple(windows[:1]), _long(windows[1:])
    size = -(-len(rest) // (MOST_WINDOWS - 1)) or 1
    groups = (rest[at : at + size] for at in range(0, len(rest), size))
    return first + tuple(_sum(group) for group in groups)


def _long(windows: Sequence[Window]) -> list[Window]:
    """Return windows of `LEAST_S` at least, neighbours joined; what is left at the end is not."""
    found: list[Window] = []
    waiting: list[Window] = []
    for window in windows:
        waiting.append(window)
        if sum(one.seconds for one in waiting) >= LEAST_S:
            found.append(_sum(waiting))
            waiting = []
    return found


def _sum(windows: Sequence[Window]) -> Window:
    return Window(*(sum(part) for part in zip(*map(astuple, windows), strict=True)))


def read_steps(document: Mapping[str, Any]) -> Steps:
    """Return what `Steps.to_json` wrote.

    Raises:
        ResultError: A figure is impossible.
        ValueError, KeyError, TypeError: A field is missing or of another type.
    """
    least, most = (_number(width, 1, MOST_TOKENS) for width in document["widths"])
    if least > most or len(document["windows"]) > MOST_WINDOWS:
        raise ResultError("its widths or rows are impossible")
    found = Steps(
        (int(least), int(most)),
        tuple(_window(row, least, most) for row in document["windows"]),
        tuple(_check(row) for row in document["checks"][:MOST_WINDOWS]),
        document["paged"] is not False,
    )
    if not found.windows:
        raise ResultError("it has no steps")
    return found


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not math.isfinite(value) or not least <= value <= most:
        raise ResultError("a figure is out of range")
    return value


def _window(row: Sequence[Any], least: float, most: float) -> Window:
    steps, tokens, squares, firsts, seconds = row
    steps = int(_number(steps, 1, MOST_STEPS))
    tokens = int(_number(tokens, steps * least, steps * most))
    # The mean of squares is at least the square of the mean.
    squares = int(_number(squares, tokens**2 / steps * (1 - 1e-9), steps * most**2))
    return Window(
        steps,
        tokens,
        squares,
        int(_number(firsts, 0, steps)),
        _number(seconds, 1e-6 * steps, MOST_SECONDS),
    )


def _check(row: Sequence[Any]) -> Check:
    batches, tokens, seconds = row
    batches = int(_number(batches, 1, MOST_STEPS))
    tokens = int(_number(tokens, batches, batches * MOST_TOKENS))
    return Check(batches, tokens, _number(seconds, 0, MOST_SECONDS))


def times(steps: Steps, source: str) -> StepTimes:
    """Return what a run's batches take, from those of an earlier one.

    Saves are in its steps, so they add nothing.

    Args:
        steps: Of the earlier run, with `LEAST_WINDOWS` windows at least.
        source: What it is, in words.
    """
    rows = np.array([astuple(window)[:4] for window in steps.windows], dtype=float)
    seconds = np.array([window.seconds for window in steps.windows])
    parts = _not_negative(rows / seconds[:, None], np.ones_like(seconds))
    ratios = seconds[1:] / (rows[1:] @ parts)
    # Relative errors favour the fast rows; the sum of a run is what is asked for.
    scale, error = step_times.mean(list(ratios))
    parts = np.append(parts[:3] * scale, parts[3])
    # A load that comes and goes is another one next time, however often it was met here.
    uneven = float(np.median(np.abs(ratios / np.median(ratios) - 1)))
    spread = max(error / scale, uneven)
    least, most = steps.widths
    widths = tuple(sorted({least, (least + most) // 2, most}))
    x = np.array(widths, dtype=float)
    train = Curve(widths, tuple(map(float, parts[0] + parts[1] * x + parts[2] * x**2)))
    return StepTimes(
        train=train,
        first=Curve(widths, (float(parts[3]),) * len(widths)),
        validation=_validation(steps, train),
        save_s=0.0,
        error=ERROR_ALONE + 2 * spread,
        spread=spread,
        source=source,
    )


def _validation(steps: Steps, train: Curve) -> Curve:
    """Return the seconds of a validation batch: in proportion to its tokens, or half a step."""
    rates = [check.seconds / check.tokens for check in steps.checks]
    if not rates or not max(rates):
        return Curve(train.widths, tuple(seconds / 2 for seconds in train.seconds))
    # The first one also meets what was never computed before.
    rate = float(np.median(rates[1:] or rates))
    return Curve(train.widths, tuple(rate * width for width in train.widths))


def _not_negative(matrix: Any, wanted: Any) -> Any:
    """Return the least-squares solution whose parts are none below zero, by trying every set.

    Args:
        matrix: (rows, parts), few parts.
        wanted: (rows,).
    """
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
    best, least = np.zeros(matrix.shape[1]), math.inf
    every = range(matrix.shape[1])
    for chosen in itertools.chain(*(itertools.combinations(every, n + 1) for n in every)):
        columns = list(chosen)
        part = np.linalg.lstsq(matrix[:, columns] / scale[columns], wanted, rcond=None)[0]
        if np.any(part < 0):
            continue
        off = float(((matrix[:, columns] / scale[columns] @ part - wanted) ** 2).sum())
        # A set with more parts must say more than rounding does.
        if off < least * (1 - 1e-6):
            best, least = np.zeros(matrix.shape[1]), off
            best[columns] = part / scale[columns]
    return best
