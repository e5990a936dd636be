"""Weigh the harness of the comparison with the null framework, and sum up the last comparison.

Run from the project root after `nox -s compare`: `python benchmarks/compare.py`. It prints
JSON for benchmarks/results/compare.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mlx_preflight.core import environment
from mlx_preflight.frameworks import framework, measure, recipe, record
from mlx_preflight.frameworks.bench import Bench

PROJECT = Path(__file__).resolve().parents[1]
STEPS, ROUNDS = 60, 12


def watched(folder: Path) -> tuple[list[float], list[float], float]:
    """Return seconds of steps, seconds of recording, and the parent's CPU share of one core."""
    bench = Bench(framework.find("null"), Path(sys.executable), folder, 120, lambda _: None)
    begun, used = time.perf_counter(), time.process_time()
    done = bench.run("watched", "train", {"steps": STEPS})
    share = (time.process_time() - used) / (time.perf_counter() - begun)
    return done.answer["steps_s"], done.answer["recording_s"], share


def bare(folder: Path) -> list[float]:
    """Return seconds of the same steps in a process that nobody watches."""
    folder.mkdir(exist_ok=True)
    job = {"answer": str(folder / "a.json"), "steps_file": str(folder / "s.jsonl")}
    (folder / "job.json").write_text(json.dumps({**job, "steps": STEPS, "started": 0.0}))
    module = ["-m", "mlx_preflight.frameworks.child", "null", "train", str(folder / "job.json")]
    source = {"PYTHONPATH": str(PROJECT / "src"), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, *module], cwd=folder, env=source, check=True)
    answer = json.loads((folder / "a.json").read_text())
    return [float(value) for value in answer["steps_s"]]


def harness() -> dict[str, Any]:
    """Alternate watched and bare runs, so that other work on the machine hits both."""
    steps: dict[str, list[float]] = {"watched": [], "bare": []}
    recording, shares = [], []
    with tempfile.TemporaryDirectory() as name:
        for _ in range(ROUNDS):
            found, recorded, share = watched(Path(name) / "watched")
            steps["watched"] += found
            recording += recorded
            shares.append(share)
            steps["bare"] += bare(Path(name) / "bare")
    quick = {key: statistics.quantiles(values, n=10)[0] for key, values in steps.items()}
    return {
        "steps": STEPS * ROUNDS,
        "null_step_watched_s": quick["watched"],
        "null_step_bare_s": quick["bare"],
        "step_difference_percent": (quick["watched"] / quick["bare"] - 1) * 100,
        "recording_per_step_s": statistics.median(recording),
        "parent_cpu_share_of_one_core_percent": statistics.median(shares) * 100,
    }


def apart(values: list[float]) -> float:
    """Return how far the largest value is from the smallest, percent."""
    return round((max(values) / min(values) - 1) * 100, 2)


def comparison() -> dict[str, Any]:
    """Return time and repeatability of the frameworks that were measured last."""
    found = {}
    options = measure.BenchOptions(Path(), Path())
    for name in framework.names():
        item = record.read(PROJECT / ".preflight", name)
        if item is None or item.inputs != measure.digest(framework.find(name), options):
            raise SystemExit(f"{name} was not measured: run `nox -s compare`")
        runs = item.figures["train"]
        found[name] = {
            "date": item.date,
            "tokens_per_s_apart_percent": apart([run["tokens_per_s"] for run in runs]),
            "peak_rss_apart_percent": apart([run["peak_rss_bytes"] for run in runs]),
            "duration_s": round(item.duration_s, 1),
            "tokens_per_s": [round(run["tokens_per_s"], 1) for run in runs],
            "tokens_per_cpu_s": [round(run["tokens_per_cpu_s"], 1) for run in runs],
            "peak_rss_bytes": [run["peak_rss_bytes"] for run in runs],
            "shortest_step_s": recipe.embedded().settings.batch_size
            * 127
            / max(run["tokens_per_s"] for run in runs),
        }
    return found


def main() -> None:
    """Measure and print one JSON document."""
    weighed, found = harness(), comparison()
    shortest = min(item["shortest_step_s"] for item in found.values())
    print(
        json.dumps(
            {
                "harness": weighed,
                "recording_percent_of_shortest_step": weighed["recording_per_step_s"]
                / shortest
                * 100,
                "comparison": found,
                "comparison_s": round(sum(item["duration_s"] for item in found.values()), 1),
                "environment": environment.capture(),
                "git": environment.git(PROJECT),
            },
            sort_keys=True,
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
