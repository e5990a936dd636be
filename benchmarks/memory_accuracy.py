"""Compare the memory predictor with real training runs of MLX-LM.

`python benchmarks/memory_accuracy.py --count 200 --seed 1 --json out.json` draws random
configurations, trains each in a fresh process with `mlx_lm.tuner.trainer.train`, and compares
peaks. Measurements are kept line by line in `--rows`, so that a run can be resumed and the
predictions repeated. On Linux, preload OpenBLAS: it makes float32 thirty times faster.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from memory_configurations import draw, training_steps

from mlx_preflight.errors import PreflightError
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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-measure", action="store_true", help="only predict what is there")
    chosen = parser.parse_args()
    rows = chosen.rows or Path(f"memory_accuracy_{chosen.seed}.jsonl")
    if not chosen.no_measure:
        collect(rows, chosen.count, chosen.seed)
    found = [compare(json.loads(line)) for line in rows.read_text("utf-8").splitlines()]
    for row in sorted(found, key=lambda r: -abs(r["error"])):
        c, s = row["config"], row["settings"]
        print(
            f"{row['index']:4d} {100 * row['error']:+6.2f}% meas {row['peak_bytes'] / 1e6:7.2f} "
            f"{c['model_type']:11s} L{c['num_hidden_layers']} h{c['hidden_size']} v{c['vocab_size']} "
            f"{s['batch_size']}x{s['max_seq_length']} n{s['num_layers']} r{s['rank']} "
            f"{'qv' if s['keys'] else 'all'} {'gc' if s['grad_checkpoint'] else '--'} b{s['bits']} "
            f"{s['dtype'][:4]} {s['optimizer']} acc{s['grad_accumulation_steps']} "
            f"{sum(row['step_s']):.1f}s"
        )
    errors = sorted(abs(row["error"]) for row in found)
    n = len(errors)
    print(f"n {n} median {100*errors[n//2]:.2f} p95 {100*errors[int(.95*n)]:.2f} worst {100*errors[-1]:.2f} bias {100*sum(r['error'] for r in found)/n:+.2f}")
    return 0


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
    if "failure" in row:
        print(row["index"], row["failure"][-300:])
        return {**row, "peak_bytes": 0, "error": 0.0, "step_s": [0]}
    prediction = predict(row["config"], Settings.from_json(row["settings"]))
    return {
        **row,
        "predicted_bytes": prediction.peak_bytes,
        "error": prediction.peak_bytes / row["peak_bytes"] - 1,
        "seconds": prediction.seconds,
    }


if __name__ == "__main__":
    raise SystemExit(main())
