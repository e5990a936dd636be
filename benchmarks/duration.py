"""Compare the predicted duration of whole training runs with the real one; prints JSON.

`python benchmarks/duration.py --count 10 --out benchmarks/results/duration.json` on an idle
machine. Each run is a small model of a random family with random settings and skewed rows:
its slices are rehearsed in at most `--plan-s` seconds, then `mlx_lm.lora` trains it in a fresh
process, every third twice, and what its trainer reports for steps and validations is compared, and
its peak. The second of two equal runs says how far this machine agrees with itself. Call
`mlx-preflight calibrate` first: the same run is predicted from the calibration alone. On Linux,
preload OpenBLAS: it makes float32 thirty times faster.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory_accuracy import machine, versions
from run_memory import draw, prepare

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.memory.replay.costs import Costs
from mlx_preflight.models import source
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import duration, memory, peaks, rehearsal, slice_runs, timing

REPORTED = """
import json, sys, types, yaml
import mlx.core as mx
from mlx_lm import lora
from mlx_lm.tuner import callbacks, trainer
seconds = {"steps": [], "validations": []}
class Seen(callbacks.TrainingCallback):
    def on_train_loss_report(self, info):
        seconds["steps"].append(1 / info["iterations_per_second"])
    def on_val_loss_report(self, info):
        seconds["validations"].append(info["val_time"])
settings = {**lora.CONFIG_DEFAULTS, **yaml.safe_load(open(sys.argv[1]))}
def train(*, model, **named):
    mx.eval(model.parameters())
    mx.clear_cache()
    mx.reset_peak_memory()
    trainer.train(model=model, **{**named, "training_callback": Seen()})
lora.train = train
lora.run(types.SimpleNamespace(**settings))
print(json.dumps({**seconds, "peak_bytes": mx.get_peak_memory()}))
"""
"""What the child runs: `mlx_lm.lora` with a callback that keeps the times."""

LEAST_ITERATIONS, MOST_ITERATIONS = 20, 600

AGAIN = 3
"""Every so many runs, the same run is trained a second time."""


def main() -> int:
    """Predict and time every run, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first run to make")
    parser.add_argument("--plan-s", type=float, default=30.0)
    parser.add_argument("--run-s", type=float, default=12.0, help="what a real run takes, roughly")
    parser.add_argument("--minutes", type=float, help="begin no further run after so many")
    parser.add_argument("--out", type=Path, help="file for the document; printed if absent")
    options = parser.parse_args()
    rows, blocked = [], []
    began = time.perf_counter()
    for number, run in enumerate(draw(options.count, options.seed)):
        if number < options.first:
            continue
        if options.minutes and time.perf_counter() - began > 60 * options.minutes:
            break
        try:
            row = _compared(number, _deeper(run, number), options)
        except BlockedError as error:
            print(f"{number:2} not rehearsed: {error}", file=sys.stderr, flush=True)
            blocked.append({"number": number, "reason": str(error)})
            continue
        rows.append(row)
        print(_line(number, row), file=sys.stderr, flush=True)
    document = {
        "statistics": statistics_of(rows),
        "seed": options.seed,
        "plan_s": options.plan_s,
        "run_s": options.run_s,
        "machine": machine(),
        "versions": versions(),
        "not_rehearsed": blocked,
        "runs": rows,
    }
    text = json.dumps(document, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def statistics_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return errors of all runs in a few figures."""
    return {
        "from_a_rehearsal": _errors([row["rehearsed"] for row in rows]),
        "from_a_calibration": _errors([row["calibrated"] for row in rows if "calibrated" in row]),
        "the_same_run_again": _errors([row["again"] for row in rows if "again" in row]),
        "memory_predicted": _errors([row["memory_predicted"] for row in rows]),
        "memory_corrected": _errors([row["memory_corrected"] for row in rows]),
    }


def _errors(found: list[dict[str, Any]]) -> dict[str, float]:
    if not found:
        return {}
    errors = sorted(abs(item["error"]) for item in found)
    signed = [item["error"] for item in found]
    return {
        "runs": len(errors),
        "median": statistics.median(errors),
        "percentile_95": errors[max(0, -(-95 * len(errors) // 100) - 1)],
        "worst": errors[-1],
        "median_signed": statistics.median(signed),
        "inside": sum(item.get("inside", True) for item in found) / len(found),
    }


def _line(number: int, row: dict[str, Any]) -> str:
    names = ("rehearsed", "calibrated", "again", "memory_predicted", "memory_corrected")
    errors = " ".join(f"{name} {row[name]['error']:+.1%}" for name in names if name in row)
    return f"{number:2} {row['family']:12} {row['real']['all_s']:6.1f} s: {errors}"


def _compared(number: int, run: dict[str, Any], options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run["settings"]["iters"] = MOST_ITERATIONS
        prepare(run, folder)
        context, judged, batches, _ = _read(folder)
        found = slice_runs.rehearse(
            source.find(judged.model).config,
            timing.rehearsed_settings(judged, max(batches.widths)),
            batches.widths,
            [width for item in batches.validations for width in item.widths],
            budget_bytes=8 * 10**9,
            note=lambda _: None,
            plan_s=options.plan_s,
        )
        times = timing.of_rehearsal(found)
        step_s = float(times.train.at(batches.widths).mean())
        iterations = round(options.run_s / step_s)
        run["settings"]["iters"] = min(max(iterations, LEAST_ITERATIONS), MOST_ITERATIONS)
        shutil.rmtree(folder / "data")
        if (folder / "model").is_symlink():
            (folder / "model").unlink()
        else:
            shutil.rmtree(folder / "model")
        prepare(run, folder)
        context, judged, batches, rows = _read(folder)
        facts = memory.gather_facts(context)
        training, highest = facts.training, facts.highest()
        assert isinstance(training, peaks.Peak)
        predicted = duration.of_run(judged, batches, times, len(rows.splits["train"]))
        own = timing.of_prediction(training.prediction, max(batches.widths), probe=False)
        calibrated = duration.of_run(judged, batches, own, len(rows.splits["train"]))
        first = _trained(folder)
        second = _trained(folder) if number % AGAIN == 0 else None
    one = rehearsal.corrected(found, highest.prediction)
    peak = int(first["peak_bytes"])
    low, high = highest.prediction.peak_low_bytes, highest.prediction.peak_high_bytes
    return {
        **run,
        "slices": [[one.blocks, one.adapted, round(one.weight, 3)] for one in found.slices],
        "rehearsed_s": found.seconds,
        "spread": round(times.spread, 4),
        "real": _seconds(first),
        "rehearsed": _error(predicted, first),
        "calibrated": _error(calibrated, first),
        **({"again": _again(first, second)} if second else {}),
        "work": _work(training.prediction.costs, batches.widths, first["steps"]),
        "memory_predicted": {
            "error": highest.prediction.peak_bytes / peak - 1,
            "inside": low <= peak <= high,
        },
        "memory_corrected": {
            "error": one.peak_bytes / peak - 1,
            "inside": one.peak_low_bytes <= peak <= one.peak_high_bytes,
            "ratio": one.ratio,
        },
    }


def _again(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    return {"error": round(_seconds(second)["all_s"] / _seconds(first)["all_s"] - 1, 4)}


def _work(costs: Costs, widths: Sequence[int], steps: Sequence[float]) -> list[dict[str, float]]:
    """Return what a step of each width computes, how many there were, and their mean seconds."""
    found = []
    for width in sorted(set(widths)):
        taken = [s for at, s in zip(widths, steps, strict=True) if at == width]
        at = dataclasses.asdict(costs.at(width))
        flops = at.pop("flops")
        found.append({**at, **flops, "steps": len(taken), "step_s": statistics.fmean(taken)})
    return found


def _read(folder: Path) -> Any:
    """Return context, run, batches and rows of a prepared folder."""
    request = TrainingRequest(("--config", "lora_config.yaml"))
    context = Context.of(folder, ProjectSettings(), training=request, note=lambda _: None)
    return context, *peaks.batches_of(context)


def _seconds(real: dict[str, Any]) -> dict[str, float]:
    steps, validations = sum(real["steps"]), sum(real["validations"])
    return {
        "steps_s": round(steps, 2),
        "validations_s": round(validations, 2),
        "all_s": steps + validations,
    }


def _error(predicted: duration.Duration, real: dict[str, Any]) -> dict[str, Any]:
    told = predicted.train_s + predicted.compile_s + predicted.validation_s
    taken, most = _seconds(real)["all_s"], 1 + predicted.error
    return {
        "steps_s": round(predicted.train_s + predicted.compile_s, 2),
        "validations_s": round(predicted.validation_s, 2),
        "error": round(told / taken - 1, 4),
        "inside": told / most <= taken <= told * most,
        "interval_share": round(predicted.error, 3),
    }


def _deeper(run: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a run of `run_memory` with a model of more blocks than a slice has."""
    shape = {"num_hidden_layers": (8, 12, 16, 20)[number % 4], "dtype": "float32"}
    settings = {"steps_per_eval": 20, "val_batches": 3}
    return {
        **run,
        "shape": {**run["shape"], **shape},
        "settings": {**run["settings"], **settings, "num_layers": (-1, 4, 6)[number % 3]},
    }


def _trained(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", REPORTED, "lora_config.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
