"""Scores of frameworks on the five criteria of the plan, their ranking, and its sensitivity.

A score is a share of the best: 1 for the best, 0.5 for twice the memory or half the speed.
What was not measured but read counts by what the source says (1, 0.5 or 0). Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core.units import format_bytes, format_measurement, format_seconds

FACTORS = (2.0, 0.5)
"""By which each weight is multiplied in turn."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """One framework's score on one criterion.

    Attributes:
        share: 0 to 1.
        value: What it comes from, for a reader.
        source: `measured`, or where it was read.
    """

    share: float
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Variation:
    """The ranking after one weight was changed.

    Attributes:
        ranking: Best first.
        totals: Framework → weighted mean.
    """

    criterion: str
    factor: float
    ranking: tuple[str, ...]
    totals: Mapping[str, float]


def scores(figures: Mapping[str, Figures]) -> dict[str, dict[str, Score]]:
    """Return criterion → framework → score.

    Args:
        figures: Framework → its evidence.
    """
    return {
        "memory": _shares(figures, memory, format_bytes, least=True),
        "speed": _shares(
            figures, speed, lambda value: format_measurement(value, "tokens/s"), least=False
        ),
        "ease": _ease(figures),
        "qlora": {name: _qlora(item) for name, item in figures.items()},
        "m1_max": {name: _apple(item) for name, item in figures.items()},
    }


def memory(item: Figures) -> float:
    """Return the highest resident bytes of its trainings."""
    return max(float(run["peak_rss_bytes"]) for run in item["train"])


def speed(item: Figures) -> float:
    """Return the tokens per second of its fastest training: other work only ever slows one."""
    return max(float(run["tokens_per_s"]) for run in item["train"])


def totals(
    found: Mapping[str, Mapping[str, Score]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return framework → weighted mean of its scores, best first; ties by name."""
    whole = sum(weights.values())
    names = next(iter(found.values()))
    sums = {
        name: sum(weights[criterion] * found[criterion][name].share for criterion in found) / whole
        for name in names
    }
    return dict(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])))


def format_ranking(data: Mapping[str, Any], sums: Mapping[str, float]) -> str:
    """Return the titles of frameworks with their weighted means, in the order of the means."""
    return ", ".join(f"{data[name]['title']} {total:.3f}" for name, total in sums.items())


def sensitivity(
    found: Mapping[str, Mapping[str, Score]], weights: Mapping[str, float]
) -> tuple[Variation, ...]:
    """Return the ranking with each weight doubled and halved in turn."""
    variations = []
    for criterion in found:
        for factor in FACTORS:
            changed = {**weights, criterion: weights[criterion] * factor}
            if not any(changed.values()):
                continue
            sums = totals(found, changed)
            variations.append(Variation(criterion, factor, tuple(sums), sums))
    return tuple(variations)


def ease_figures(item: Figures) -> dict[str, float]:
    """Return what the ease of a framework is made of; less of each is easier."""
    return {
        "install_s": float(item["install"]["install_s"]),
        "install_bytes": float(item["install"]["bytes"]),
        "packages": float(len(item["install"]["packages"])),
        "import_s": median(item["import_s"]),
        "config_lines": float(item["config_lines"]),
    }


def median(values: list[float]) -> float:
    """Return the middle value."""
    ordered = sorted(float(value) for value in values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _shares(
    figures: Mapping[str, Figures],
    measure: Callable[[Figures], float],
    show: Callable[[float], str],
    *,
    least: bool,
) -> dict[str, Score]:
    values = {name: measure(item) for name, item in figures.items()}
    best = min(values.values()) if least else max(values.values())
    return {
        name: Score(best / value if least else value / best, show(value), "measured")
        for name, value in values.items()
    }


def _ease(figures: Mapping[str, Figures]) -> dict[str, Score]:
    """Return the geometric mean of the shares: no single figure decides."""
    parts = {name: ease_figures(item) for name, item in figures.items()}
    best = {key: min(item[key] for item in parts.values()) for key in next(iter(parts.values()))}
    found = {}
    for name, item in parts.items():
        logs = [math.log(max(best[key], 1e-9) / max(item[key], 1e-9)) for key in best]
        text = (
            f"{format_seconds(item['install_s'])}, {format_bytes(item['install_bytes'])}, "
            f"{item['packages']:.0f} packages, import {format_seconds(item['import_s'])}, "
            f"{item['config_lines']:.0f} lines"
        )
        found[name] = Score(math.exp(sum(logs) / len(logs)), text, "measured")
    return found


def _qlora(item: Figures) -> Score:
    claim = item["apple_qlora"]
    here = bool(item["qlora"]["runs"])
    text = f"{'runs' if here else 'does not run'} on the measuring machine; {claim['text']}"
    share = (float(here) + float(claim["share"])) / 2
    return Score(share, text, f"measured; {claim['source']} ({claim['version']})")


def _apple(item: Figures) -> Score:
    claim = item["apple"]
    source = f"static: {claim['source']} ({claim['version']})"
    return Score(float(claim["share"]), str(claim["text"]), source)
