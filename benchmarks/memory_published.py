"""Compare predictions for Metal with peaks that other people published."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings


def published() -> list[str]:
    """Return a Markdown table of published and predicted peaks, and why they differ."""
    rows = compared()
    lines = [
        "## Published runs on Apple silicon (`metal` backend)",
        "",
        "| run | published GB | predicted GB (interval) | difference | inside | prediction s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["published_gb"]
        stated = "" if row["stated"] else " (*)"
        shown = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        lines.append(
            f"| {row['name']}{stated} | {shown} | {row['peak_gb']:.3f} "
            f"({row['low_gb']:.2f} to {row['high_gb']:.2f}) | {100 * row['error']:+.1f} % | "
            f"{'yes' if row['inside'] else 'no'} | {row['seconds']:.2f} |"
        )
    known = [row for row in rows if row["stated"]]
    inside = sum(row["inside"] for row in known)
    median = statistics.median(abs(row["error"]) for row in known)
    total = f"{inside} of {len(known)} fully stated runs are inside the interval"
    lines += ["", f"{total}; the median difference is {100 * median:.1f} %."]
    notes = [f"- {row['name']}: {row['gap']}" for row in rows if "gap" in row]
    return [*lines, "", "(*) settings not fully stated:", "", *notes]


def compared(only: str = "") -> list[dict[str, Any]]:
    """Return every published run beside its prediction.

    Args:
        only: Part of the name of the runs to predict; empty for all.
    """
    file = Path(__file__).with_name("published_peaks.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    chosen = [row for row in document["rows"] if only in row["name"]]
    return [_compared(row, document["models"][row["model"]]) for row in chosen]


def _compared(row: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = dict(row["settings"])
    keys = tuple(given.pop("keys")) if "keys" in given else None
    found = predict(config, Settings(backend="metal", keys=keys, **given))
    low, high = min(row["peak_gb"]), max(row["peak_gb"])
    peak = found.peak_bytes / 1e9
    nearest = min(max(peak, low), high)
    ends = found.peak_low_bytes / 1e9, found.peak_high_bytes / 1e9
    return {
        **row,
        "published_gb": [low, high],
        "peak_gb": peak,
        "low_gb": ends[0],
        "high_gb": ends[1],
        "error": peak / nearest - 1,
        "inside": ends[0] <= high and low <= ends[1],
        "trainable_parameters": found.trainable_parameters,
        "seconds": found.seconds,
    }
