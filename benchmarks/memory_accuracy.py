"""Compare the memory predictor with real training runs of MLX-LM.

`python benchmarks/memory_accuracy.py --count 200 --seed 1 --out results` draws random
configurations, trains each in a fresh process with `mlx_lm.tuner.trainer.train`, and writes
the comparison as `memory_accuracy.json`, `.md` and `.png`. Measurements are kept line by line
in `--rows`, so that a run can be resumed and the predictions repeated. On Linux, preload
OpenBLAS: it makes float32 thirty times faster. The picture needs matplotlib.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from memory_configurations import draw, training_steps
from memory_published import published
from memory_report import markdown, plot, statistics_of

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings

Row = dict[str, Any]


def main() -> int:
    """Measure what is missing, predict, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=Path, help="measurements, one JSON document a line")
    parser.add_argument("--out", type=Path, help="folder for the three result files")
    parser.add_argument("--note", default="", help="a paragraph for the report")
    parser.add_argument("--json", action="store_true", help="print the statistics as JSON")
    parser.add_argument("--no-measure", action="store_true", help="only predict what is there")
    parser.add_argument("--published", action="store_true", help="only compare published peaks")
    chosen = parser.parse_args()
    if chosen.published:
        print("\n".join(published()))
        return 0
    rows = chosen.rows or Path(f"memory_accuracy_{chosen.seed}.jsonl")
    if not chosen.no_measure:
        collect(rows, chosen.count, chosen.seed)
    measured = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    failed = [row for row in measured if "failure" in row]
    for row in failed:
        print(f"row {row['index']} was not measured: {row['failure']}", file=sys.stderr)
    found = [compare(row) for row in measured if "failure" not in row]
    document = {
        "seed": chosen.seed,
        "note": chosen.note,
        "machine": machine(),
        "versions": versions(),
        "statistics": {**statistics_of(found), "failed": len(failed)},
        "rows": found,
        "published": published(),
    }
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
        (chosen.out / "memory_accuracy.json").write_text(text + "\n", "utf-8")
        (chosen.out / "memory_accuracy.md").write_text(markdown(document), "utf-8")
        plot(found, chosen.out / "memory_accuracy.png")
    if chosen.json:
        print(json.dumps(document["statistics"], indent=1))
    else:
        print(markdown(document))
    return 1 if failed or document["statistics"]["over_interval"] else 0


def machine() -> str:
    """Describe the machine without naming it."""
    memory = psutil.virtual_memory().total / 1e9
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"


def versions() -> str:
    """Return the versions that the figures hold for."""
    names = ("mlx", "mlx-lm")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([*found, f"Python {platform.python_version()}"])


def collect(rows: Path, count: int, seed: int) -> None:
    """Append a measurement for every configuration that has none yet."""
    rows.touch()
    done = {json.loads(line)["index"] for line in rows.read_text("utf-8").splitlines()}
    for index, (config, settings) in enumerate(draw(count, seed)):
        if index in done:
            continue
        started = time.perf_counter()
        row: Row = {"index": index, "config": config, "settings": dataclasses.asdict(settings)}
        try:
            steps = training_steps(settings)
            row |= dataclasses.asdict(measure(config, settings, steps=steps, timeout_s=300))
        except PreflightError as error:
            row["failure"] = str(error)
        row["wall_s"] = time.perf_counter() - started
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def compare(row: Row) -> Row:
    """Add the prediction and its error to a measurement."""
    prediction = predict(row["config"], Settings.from_json(row["settings"]))
    return {
        **row,
        "predicted_bytes": prediction.peak_bytes,
        "low_bytes": prediction.peak_low_bytes,
        "high_bytes": prediction.peak_high_bytes,
        "parameters": prediction.parameters,
        "weight_bytes": prediction.weight_bytes,
        "error": prediction.peak_bytes / row["peak_bytes"] - 1,
        "seconds": prediction.seconds,
    }


if __name__ == "__main__":
    raise SystemExit(main())
