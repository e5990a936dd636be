"""Compare predictions for Metal with peaks that other people published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings


def published() -> list[str]:
    """Return a Markdown table of published and predicted peaks, and why they differ."""
    document = json.loads(
        Path(__file__).with_name("published_peaks.json").read_text(encoding="utf-8")
    )
    lines = [
        "## Published runs on Apple silicon (`metal` backend)",
        "",
        "| run | published GB | predicted GB (interval) | difference | prediction s |",
        "|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for row in document["rows"]:
        given: dict[str, Any] = dict(row["settings"])
        keys = tuple(given.pop("keys")) if "keys" in given else None
        settings = Settings(backend="metal", keys=keys, **given)
        found = predict(document["models"][row["model"]], settings)
        low, high = min(row["peak_gb"]), max(row["peak_gb"])
        peak = found.peak_bytes / 1e9
        nearest = min(max(peak, low), high)
        stated = "" if row["stated"] else " (*)"
        shown = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        lines.append(
            f"| {row['name']}{stated} | {shown} | {peak:.3f} "
            f"({found.peak_low_bytes / 1e9:.2f} to {found.peak_high_bytes / 1e9:.2f}) | "
            f"{100 * (peak / nearest - 1):+.1f} % | {found.seconds:.2f} |"
        )
        if "gap" in row:
            notes.append(f"- {row['name']}: {row['gap']}")
    return [*lines, "", "(*) settings not fully stated:", "", *notes]
