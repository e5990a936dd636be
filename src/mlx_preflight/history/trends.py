"""Measurements over runs, and differences between two runs; pure functions of records."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_percent
from mlx_preflight.history.filters import Head, suggest_names
from mlx_preflight.history.record_form import Record

_CHANGE_FLOOR = 0.02
"""Changes below 2 % of the median are never flagged: repeated runs differ so much."""


_LEAST_EARLIER = 3
"""A spread of two values is none."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One measurement of one run.

    Attributes:
        flagged: Whether it differs from the earlier runs alike by more than their spread.
        why: How much, or empty.
        model: Runs of one model on one machine are alike.
        machine: See `model`.
    """

    run_id: str
    started: str
    value: float
    flagged: bool
    why: str
    model: str
    machine: str


def history(name: str, heads: Sequence[Head]) -> list[TrendPoint]:
    """Return a measurement over runs, oldest first, with sudden changes flagged.

    A value is flagged when it differs from the median of at least three earlier runs of the
    same model on the same kind of machine by more than three times their spread (median
    absolute deviation), and by 2 %.

    Args:
        name: `step_s`, or `AC6.4/training_peak_bytes` where several checks measure it.
        heads: Runs to look at, newest first.

    Raises:
        UsageError: No run holds it, or several checks measure it.
    """
    points: list[TrendPoint] = []
    keys: set[str] = set()
    earlier: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for head in reversed(heads):
        mine = head.measured(name)
        keys.update(mine)
        if len(mine) == 1:
            (value,) = mine.values()
            alike = earlier[head.model, head.machine]
            why = _sudden(alike, value)
            points.append(
                TrendPoint(
                    head.run_id, head.started, value, bool(why), why, head.model, head.machine
                )
            )
            alike.append(value)
    if len(keys) > 1:
        raise UsageError(f"{name} is measured by several checks: {', '.join(sorted(keys))}")
    if not points:
        known = {key for head in heads for key in head.names.all}
        hint = suggest_names(name, known) if known else "no run is recorded yet"
        raise UsageError(f"no recorded run has {name[:80]!r}", hint=hint)
    return points


def difference(left: Record, right: Record) -> dict[str, Any]:
    """Return what differs between two runs: settings, checks and measurements."""
    checks = sorted(set(left["checks"]) | set(right["checks"]))
    names = sorted(set(left["measurements"]) | set(right["measurements"]))
    return {
        "runs": [left["run_id"], right["run_id"]],
        "facts": {
            key: [left[key], right[key]]
            for key in ("model", "machine", "tool", "verdict", "group", "git", "settings")
            if left[key] != right[key]
        },
        "packages": _changed(left["packages"], right["packages"]),
        "checks": {
            name: [_status(left, name), _status(right, name)]
            for name in checks
            if _status(left, name) != _status(right, name)
        },
        "measurements": {
            name: [left["measurements"].get(name), right["measurements"].get(name)]
            for name in names
            if left["measurements"].get(name) != right["measurements"].get(name)
        },
    }


def _sudden(earlier: list[float], value: float) -> str:
    """Describe a difference from earlier values that exceeds their spread; else return ''."""
    if len(earlier) < _LEAST_EARLIER:
        return ""
    middle = statistics.median(earlier)
    spread = statistics.median(abs(item - middle) for item in earlier)
    change = value - middle
    if abs(change) <= max(3 * spread, _CHANGE_FLOOR * abs(middle)):
        return ""
    share = format_percent(100 * change / middle, signed=True) if middle else f"{change:+g}"
    return f"{share} against the median of {len(earlier)} earlier runs"


def _status(record: Record, name: str) -> str | None:
    found = record["checks"].get(name)
    return Status(found["status"]).value if found else None


def _changed(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        key: [left.get(key), right.get(key)]
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    }
