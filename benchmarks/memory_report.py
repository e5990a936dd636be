"""Turn measured and predicted peaks into statistics, a table and a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from closed_form import LAYOUTS, estimate_training
from matplotlib.figure import Figure

Row = dict[str, Any]

FULL_BYTES = {"float32": 4, "bfloat16": 2}


def accelerate_weights(row: Row) -> float | None:
    """Return parameters x width of the type, which accelerate's estimator prints."""
    settings = row["settings"]
    width = settings["bits"] / 8 if settings["bits"] else FULL_BYTES[settings["dtype"]]
    return float(row["parameters"] * width)


def accelerate_training(row: Row) -> float | None:
    """Return its training column, four times the weights; it has none for 4 and 8 bits."""
    weights = accelerate_weights(row)
    return None if row["settings"]["bits"] or weights is None else 4 * weights


def stored(row: Row) -> float | None:
    """Return the stored bytes, which hf-mem prints."""
    return float(row["weight_bytes"])


def closed_form(row: Row) -> float | None:
    """Return this project's closed form, which knows four layouts and all-linear QLoRA."""
    config, settings = row["config"], row["settings"]
    if config["model_type"] not in LAYOUTS or not settings["bits"] or settings["keys"]:
        return None
    parts = estimate_training(
        config,
        batch=settings["batch_size"],
        row_tokens=settings["max_seq_length"],
        layers=settings["num_layers"] if settings["num_layers"] > 0 else 10**6,
        rank=settings["rank"],
        bits=settings["bits"],
        group=settings["group_size"],
        checkpointed=settings["grad_checkpoint"],
    )
    return float(parts["total"])


METHODS: dict[str, Callable[[Row], float | None]] = {
    "this predictor": lambda row: float(row["predicted_bytes"]),
    "closed form of this project": closed_form,
    "accelerate: weights x type": accelerate_weights,
    "accelerate: training column": accelerate_training,
    "hf-mem: stored bytes": stored,
}


def summary(errors: Sequence[float]) -> dict[str, float | int]:
    """Return what a list of signed relative errors amounts to, in per cent."""
    sizes = sorted(abs(error) for error in errors)
    rank = max(0, math.ceil(0.95 * len(sizes)) - 1)
    return {
        "rows": len(sizes),
        "median_percent": round(100 * statistics.median(sizes), 3),
        "p95_percent": round(100 * sizes[rank], 3),
        "worst_percent": round(100 * sizes[-1], 3),
        "bias_percent": round(100 * statistics.fmean(errors), 3),
    }


def statistics_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of all methods, families and kinds of settings."""
    found: dict[str, Any] = {"methods": {}, "families": {}, "kinds": {}}
    for name, method in METHODS.items():
        pairs = [(method(row), row["peak_bytes"]) for row in rows]
        errors = [value / peak - 1 for value, peak in pairs if value is not None]
        if errors:
            found["methods"][name] = summary(errors)
    for name, label in KINDS.items():
        groups: dict[str, list[float]] = {}
        for row in rows:
            groups.setdefault(str(label(row)), []).append(row["error"])
        found["kinds"][name] = {key: summary(groups[key]) for key in sorted(groups)}
    found["families"] = found["kinds"].pop("family")
    found["over_interval"] = sum(row["peak_bytes"] > row["high_bytes"] for row in rows)
    found["under_interval"] = sum(row["peak_bytes"] < row["low_bytes"] for row in rows)
    found["slowest_prediction_s"] = max(row["seconds"] for row in rows)
    return found


KINDS: dict[str, Callable[[Row], object]] = {
    "family": lambda row: row["config"]["model_type"],
    "type": lambda row: row["settings"]["dtype"],
    "bits": lambda row: row["settings"]["bits"],
    "checkpointing": lambda row: "on" if row["settings"]["grad_checkpoint"] else "off",
    "accumulated batches": lambda row: row["settings"]["grad_accumulation_steps"],
    "optimizer": lambda row: row["settings"]["optimizer"],
}


def table(title: str, groups: dict[str, dict[str, float | int]]) -> list[str]:
    """Return a Markdown table of summaries."""
    lines = [
        f"| {title} | rows | median | 95th percentile | worst | signed bias |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in groups.items():
        lines.append(
            f"| {name} | {figures['rows']} | {figures['median_percent']:.2f} % | "
            f"{figures['p95_percent']:.2f} % | {figures['worst_percent']:.2f} % | "
            f"{figures['bias_percent']:+.2f} % |"
        )
    return [*lines, ""]


def markdown(document: dict[str, Any]) -> str:
    """Return the report of a run."""
    found, machine = document["statistics"], document["machine"]
    intro = (
        f"{len(document['rows'])} random configurations of seed {document['seed']}, each trained "
        "in a fresh process by `mlx_lm.tuner.trainer.train` on the CPU backend. "
        "Error = predicted / measured - 1."
    )
    coverage = (
        f"Measured above the interval: {found['over_interval']} rows; below it: "
        f"{found['under_interval']}. Slowest prediction: {found['slowest_prediction_s']:.2f} s."
    )
    lines = [
        "# Accuracy of the memory predictor",
        "",
        intro,
        "",
        document["note"],
        "",
        f"Machine: {machine}. Versions: {document['versions']}.",
        "",
        coverage,
        "",
        "![predicted against measured](memory_accuracy.png)",
        "",
        *table("method", found["methods"]),
        *table("family", found["families"]),
    ]
    for name, groups in found["kinds"].items():
        lines += table(name, groups)
    lines += ["Largest errors:", "", "| error | measured MB | configuration |", "|---|---|---|"]
    for row in sorted(document["rows"], key=lambda r: -abs(r["error"]))[:12]:
        lines.append(
            f"| {100 * row['error']:+.2f} % | {row['peak_bytes'] / 1e6:.1f} | {describe(row)} |"
        )
    return "\n".join([*lines, "", *document["published"], ""])


def describe(row: Row) -> str:
    """Return a configuration in one line."""
    config, s = row["config"], row["settings"]
    return (
        f"{config['model_type']} L{config['num_hidden_layers']} h{config['hidden_size']} "
        f"v{config['vocab_size']}, {s['batch_size']}x{s['max_seq_length']}, layers "
        f"{s['num_layers']}, r{s['rank']} {'q,v' if s['keys'] else 'all-linear'}, "
        f"checkpointing {'on' if s['grad_checkpoint'] else 'off'}, bits {s['bits']}, {s['dtype']}, "
        f"{s['optimizer']}, accumulation {s['grad_accumulation_steps']}"
    )


def plot(rows: Sequence[Row], path: Path) -> None:
    """Write predicted against measured peaks of all methods."""
    figure = Figure(figsize=(7, 6))
    axes = figure.subplots()
    for name, method in reversed(METHODS.items()):
        own = name == "this predictor"
        points = [(row["peak_bytes"] / 1e6, method(row)) for row in rows]
        known = [(x, y / 1e6) for x, y in points if y is not None]
        axes.scatter(
            [x for x, _ in known],
            [y for _, y in known],
            s=16 if own else 8,
            alpha=1 if own else 0.5,
            label=name,
            color="black" if own else None,
            zorder=3 if own else 2,
        )
    ends = [min(r["peak_bytes"] for r in rows) / 1e6, max(r["peak_bytes"] for r in rows) / 1e6]
    axes.plot(ends, ends, color="grey", linewidth=1, label="equal")
    axes.set(xscale="log", yscale="log", xlabel="measured peak, MB", ylabel="predicted, MB")
    axes.set_title(f"{len(rows)} training runs of MLX-LM, CPU backend")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
