"""Compare the predicted duration of whole training runs with the real one; prints JSON.

`python benchmarks/duration.py --count 10 --out benchmarks/results/duration.json` on an idle
machine. Each run is a small model of a random family with random settings and skewed rows:
its slices are rehearsed in at most `--plan-s` seconds, then `mlx_lm.lora` trains it in a fresh
process, and what its trainer reports for steps and validations is compared. On Linux, preload
OpenBLAS: it makes float32 thirty times faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memory_accuracy import machine, versions
from run_memory import draw, prepare

from mlx_preflight.models import source
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import duration, peaks, slice_runs, timing

REPORTED = """
import json, sys, types, yaml
from mlx_lm import lora
from mlx_lm.tuner import callbacks
seconds = {"steps": [], "validations": []}
class Seen(callbacks.TrainingCallback):
    def on_train_loss_report(self, info):
        seconds["steps"].append(1 / info["iterations_per_second"])
    def on_val_loss_report(self, info):
        seconds["validations"].append(info["val_time"])
settings = {**lora.CONFIG_DEFAULTS, **yaml.safe_load(open(sys.argv[1]))}
train = lora.train
lora.train = lambda *given, **named: train(*given, **{**named, "training_callback": Seen()})
lora.run(types.SimpleNamespace(**settings))
print(json.dumps(seconds))
"""
"""What the child runs: `mlx_lm.lora` with a callback that keeps the times."""


def main() -> int:
    """Predict and time every run, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan-s", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="file for the document; printed if absent")
    options = parser.parse_args()
    rows = []
    for number, run in enumerate(draw(options.count, options.seed)):
        row = _compared(_deeper(run, number), options)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    errors = sorted(abs(row["error"]) for row in rows)
    document = {
        "runs": rows,
        "median_error": statistics.median(errors),
        "p95_error": errors[min(int(0.95 * len(errors)), len(errors) - 1)],
        "inside_the_interval": sum(row["inside"] for row in rows) / len(rows),
        "seed": options.seed,
        "plan_s": options.plan_s,
        "machine": machine(),
        "versions": versions(),
    }
    text = json.dumps(document, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def _compared(run: dict[str, Any], options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(run, folder)
        context = Context.of(
            folder,
            ProjectSettings(),
            training=TrainingRequest(("--config", "lora_config.yaml")),
            note=lambda _: None,
        )
        judged, batches, rows = peaks.batches_of(context)
        begin = time.perf_counter()
        found = slice_runs.rehearse(
            source.find(judged.model).config,
            peaks.settings_of(judged, max(batches.widths)),
            batches.widths,
            [width for item in batches.validations for width in item.widths],
            budget_bytes=8 * 10**9,
            note=lambda _: None,
            plan_s=options.plan_s,
        )
        rehearsed_s = time.perf_counter() - begin
        predicted = duration.of_run(
            judged, batches, timing.of_rehearsal(found), len(rows.splits["train"])
        )
        real = _trained(folder)
    taken = sum(real["steps"]) + sum(real["validations"])
    told = predicted.train_s + predicted.compile_s + predicted.validation_s
    return {
        **run,
        "slices": [[one.blocks, one.adapted, round(one.weight, 3)] for one in found.slices],
        "rehearsed_s": round(rehearsed_s, 1),
        "predicted_s": round(told, 2),
        "real_s": round(taken, 2),
        "error": round(told / taken - 1, 4),
        "inside": told / (1 + predicted.error) <= taken <= told * (1 + predicted.error),
        "interval_share": round(predicted.error, 3),
    }


def _deeper(run: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a run of `run_memory` with a model of more blocks than a slice has."""
    shape = {"num_hidden_layers": (8, 12, 16, 20)[number % 4], "dtype": "float32"}
    settings = {"iters": 40, "steps_per_eval": 20, "val_batches": 3}
    return {
        **run,
        "shape": {**run["shape"], **shape},
        "settings": {**run["settings"], **settings, "num_layers": (-1, 4, 6)[number % 3]},
    }


def _trained(folder: Path) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-c", REPORTED, "lora_config.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
