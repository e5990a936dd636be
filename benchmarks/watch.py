"""Measure `mlx-preflight watch`: which runs it stops, and what it costs; prints JSON.

`python benchmarks/watch.py [--children N] [--pairs N] [--seed N]` trains the embedded model with
the real trainer, in a fresh folder each time:

- N children that keep more memory with every step, until they pass the limit: stopped in time are
  those whose own peak stayed under the limit, and whose last adapter file can be loaded;
- N children that do not, under a limit 5 to 50 % over their peak: none may be stopped;
- pairs of a bare and a watched run in turn: seconds per step as the trainer itself takes them, and
  the watch's own CPU time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import psutil

from mlx_preflight.core.environment import capture
from mlx_preflight.core.units import GIGA
from mlx_preflight.models import catalog

WRAPPED = Path(__file__).with_name("watch_trainer.py")

RUN = (
    *("--model", str(catalog.EMBEDDED_FOLDER), "--data", str(catalog.EMBEDDED_ROWS), "--train"),
    *("--batch-size", "1", "--num-layers", "-1", "--max-seq-length", "256", "--val-batches", "1"),
    *("--steps-per-eval", "1000", "--learning-rate", "1e-5"),
)


def main() -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        base = _clean(Path(scratch) / "base", 40, 10, None)["peak_bytes"]
        pairs = [_pair(Path(scratch) / f"pair{n}") for n in range(options.pairs)]
        growing = [_growing(Path(scratch) / f"g{n}", draw, base) for n in range(options.children)]
        clean = [
            _clean(Path(scratch) / f"c{n}", 60, draw.randint(3, 20), base * draw.uniform(1.05, 1.5))
            for n in range(options.children)
        ]
    document = {
        "growing": {
            "children": len(growing),
            "stopped_in_time_with_adapter": sum(item["good"] for item in growing),
            "after_a_save": sum(item["after_a_save"] for item in growing),
            "runs": growing,
        },
        "clean": {
            "children": len(clean),
            "stopped": sum(item["stopped"] for item in clean),
            "runs": clean,
        },
        "cost": _cost(pairs),
        "seed": options.seed,
        "environment": capture(),
    }
    print(json.dumps(document, indent=1))
    return 0


def _growing(folder: Path, draw: random.Random, base: int) -> dict[str, Any]:
    """Run a child that passes its limit after 1.5 to 8 saves."""
    every = draw.randint(2, 10)
    leak = draw.randint(2_000_000, 20_000_000)
    limit = base * draw.uniform(1.1, 1.3) + leak * every * draw.uniform(1.5, 8)
    run = _watched(folder, 100 * every, every, limit, leak)
    saved = run.pop("adapter")
    good = run["stopped"] and run["peak_bytes"] <= limit and _loads(saved)
    return {**run, "good": good, "save_every": every, "leak_bytes": leak}


def _clean(folder: Path, iters: int, every: int, limit: float | None) -> dict[str, Any]:
    """Run a child that stays under its limit."""
    run = _watched(folder, iters, every, limit, 0)
    del run["adapter"]
    return {**run, "save_every": every}


def _watched(
    folder: Path, iters: int, every: int, limit: float | None, leak: int
) -> dict[str, Any]:
    """Run a child under watch, and return its own peak beside what the watch said."""
    options = [] if limit is None else ["--stop-at", f"{limit / GIGA:.6f}"]
    watch = [sys.executable, "-m", "mlx_preflight", "watch", *options, "--"]
    done = _child(folder, watch, iters, every, leak)
    notes = json.loads((folder / "notes.json").read_text())
    print(folder.name, done["stderr"][-400:], file=sys.stderr, flush=True)
    saved = re.search(r"last usable adapter file is (\S+), of", done["stderr"])
    return {
        "stopped": "stopping the run" in done["stderr"],
        "after_a_save": "is complete" in done["stderr"],
        "exit_code": done["code"],
        "limit_bytes": None if limit is None else round(limit),
        "peak_bytes": notes["peak_bytes"],
        "iterations": len(notes["ends_s"]),
        "adapter": saved[1] if saved else "",
    }


def _child(folder: Path, before: list[str], iters: int, every: int, leak: int) -> dict[str, Any]:
    """Run the trainer in a folder, with words before it, and return its end and its CPU time."""
    folder.mkdir()
    trainer = folder / "mlx_lm.lora"
    trainer.write_text(f"#!{sys.executable}\n{WRAPPED.read_text()}")
    trainer.chmod(0o755)
    settings = ("--iters", str(iters), "--save-every", str(every), "--steps-per-report", "5")
    variables = {
        "WATCH_LEAK_BYTES": str(leak),
        "WATCH_NOTES": str(folder / "notes.json"),
        "MLX_PREFLIGHT_DATA": str(folder / "data"),
    }
    process = subprocess.Popen(
        [*before, str(trainer), *RUN, *settings],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    own = psutil.Process(process.pid)
    cpu: list[tuple[float, float]] = []
    while process.poll() is None:
        _note_cpu(own, folder / "notes.json", cpu)
        try:
            _, stderr = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
    return {"code": process.returncode, "stderr": stderr, "cpu": cpu}


def _note_cpu(own: psutil.Process, notes: Path, cpu: list[tuple[float, float]]) -> None:
    """Note time and CPU time of the watch, from the first step of its child to its end."""
    try:
        if notes.exists() and own.children():
            times = own.cpu_times()
            cpu.append((time.perf_counter(), times.user + times.system))
    except psutil.Error:
        return


def _loads(path: str) -> bool:
    """Return whether an adapter file holds arrays of numbers."""
    if not path:
        return False
    arrays: Any = mx.load(path)
    return bool(arrays) and all(bool(mx.isfinite(item).all()) for item in arrays.values())


def _pair(folder: Path) -> dict[str, Any]:
    """Run the trainer bare and under watch, and return the seconds per step of both."""
    watch = [sys.executable, "-m", "mlx_preflight", "watch", "--stop-at", "8", "--"]
    folder.mkdir()
    found = {}
    for name, before in (("bare", []), ("watched", watch)):
        done = _child(folder / name, before, 300, 50, 0)
        ends = json.loads((folder / name / "notes.json").read_text())["ends_s"]
        steps = [b - a for a, b in itertools.pairwise(ends[20:])]
        found[f"{name}_step_s"] = statistics.median(steps)
        if before:
            cpu = done["cpu"]
            found["watch_cpu_share"] = (cpu[-1][1] - cpu[0][1]) / (cpu[-1][0] - cpu[0][0])
    return found


def _cost(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    if not pairs:
        return {}
    ratios = [item["watched_step_s"] / item["bare_step_s"] for item in pairs]
    shares = [item["watch_cpu_share"] for item in pairs]
    return {
        "step_ratio_median": statistics.median(ratios),
        "watch_cpu_share_median": statistics.median(shares),
        "pairs": pairs,
    }


if __name__ == "__main__":
    sys.exit(main())
