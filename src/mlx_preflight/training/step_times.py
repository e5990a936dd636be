"""Seconds of a training step as a function of its width, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARABOLA = 3
"""Points that a parabola needs."""

OUTLIER = 3.0
"""Steps that take longer than so many medians count as so many: another program woke up."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of one batch by its width.

    Attributes:
        widths: Tokens per row, padded, rising.
        seconds: Mean of each.
    """

    widths: tuple[int, ...]
    seconds: tuple[float, ...]

    def at(self, widths: Any) -> Any:
        """Return seconds for widths, an array of any shape.

        A step is a fixed part, one that grows with the tokens, and one that grows with their
        square. Where measured points do not rise so, what lies between is taken as straight.
        """
        wanted = np.asarray(widths, dtype=float)
        x, y = np.array(self.widths, dtype=float), np.array(self.seconds)
        between = np.interp(wanted, x, y)
        if len(x) < PARABOLA or y[0] <= 0 or np.any(np.diff(y) <= 0):
            # Beyond the points, in proportion to the tokens. (A first step may add nothing.)
            return np.where(wanted > x[-1], y[-1] * wanted / x[-1], between)
        # Relative errors count: a narrow batch is as often met as a wide one.
        terms = np.stack([np.ones_like(x), x, x**2], axis=1)
        part = np.linalg.lstsq(terms / y[:, None], np.ones_like(y), rcond=None)[0]
        curved = part[0] + part[1] * wanted + part[2] * wanted**2
        return np.where((curved > 0.5 * between) & (curved < 2 * between), curved, between)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What a step, a validation batch, a compilation and a save take.

    Attributes:
        train: Seconds of a training step.
        first: Seconds that the first steps of a width take longer: their compilation.
        validation: Seconds of a validation batch.
        save_s: Seconds of a save.
        error: Share by which the whole may be off, both ways.
        spread: Standard error of the steps, as a share; 0 where nothing was measured.
        source: Where the figures come from, in words.
    """

    train: Curve
    first: Curve
    validation: Curve
    save_s: float
    error: float
    spread: float
    source: str


def mean(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the mean of steps and its standard error; single delays count little.

    A machine that slows down for a while makes the steps of that while slow together, so half
    of what the two halves differ counts where it is more.
    """
    found = np.array(seconds, dtype=float)
    found = np.minimum(found, OUTLIER * np.median(found))
    if len(found) == 1:
        return float(found[0]), float(found[0])
    half = len(found) // 2
    apart = abs(found[:half].mean() - found[half:].mean()) / 2
    return float(found.mean()), float(max(found.std(ddof=1) / len(found) ** 0.5, apart))


def combine(
    parts: Sequence[tuple[float, Mapping[str, Any]]], kind: str
) -> tuple[Curve, Curve, float]:
    """Return the whole model's curve from those of slices, what first steps add, and the spread.

    Args:
        parts: Weight and answer of each slice (`runtime.rehearsal_child`).
        kind: `widths` for training, `validation`.
    """
    widths = sorted({int(width) for _, answer in parts for width in answer[kind]})
    steps, firsts, spreads = [], [], []
    for width in widths:
        total, added, variance = 0.0, 0.0, 0.0
        for weight, answer in parts:
            seconds = answer[kind][str(width)]["seconds"]
            warm = int(answer["firsts"]) if kind == "widths" else 1
            average, error = mean(seconds[warm:] or seconds)
            total += weight * average
            added += weight * max(sum(seconds[:warm]) - warm * average, 0.0)
            variance += (weight * error) ** 2
        steps.append(max(total, 1e-6))
        firsts.append(max(added, 0.0))
        spreads.append(variance**0.5 / steps[-1])
    spread = max(spreads, default=0.0)
    return Curve(tuple(widths), tuple(steps)), Curve(tuple(widths), tuple(firsts)), spread
