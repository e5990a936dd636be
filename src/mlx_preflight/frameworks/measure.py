"""Measurement of one framework from installation to adapter, kept in one file."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment, judged_environment
from mlx_preflight.core.errors import ChildError, PreflightError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import Status
from mlx_preflight.core.text import redact
from mlx_preflight.frameworks import install, recipe, rows
from mlx_preflight.frameworks.bench import Bench, TaskRun
from mlx_preflight.frameworks.framework import REFERENCE, Plugin
from mlx_preflight.frameworks.recipe import Recipe
from mlx_preflight.frameworks.record import FrameworkRecord

RUNS, MOST_RUNS = 2, 3
"""Trainings of each framework: the second tells how far a figure repeats; a third is made
where the two are further apart than `AGREE`."""

AGREE = 0.10
"""Relative difference in tokens/s up to which two trainings agree."""

WARM_UP = 3
"""Steps left out of the speed; compilers and allocators settle in them."""

STEPS = 20
"""Steps of each training."""

IMPORTS, QLORA_STEPS, QUESTIONS, ANSWER_TOKENS = 3, 3, 4, 24


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Options of a measurement.

    Attributes:
        python: Interpreter of the framework's venv.
        folder: Where the runs work.
        timeout_s: For one process.
        installing: Whether to install; else the venv is taken as it is.
        steps: Of each training.
        extra: Added to every job.
    """

    python: Path
    folder: Path
    timeout_s: float = 900.0
    installing: bool = True
    steps: int = STEPS
    extra: Mapping[str, Any] | None = None


def digest(plugin: Plugin, options: BenchOptions) -> str:
    """Return what a finished measurement depends on: framework, rows, settings and weights."""
    trained = materials(options.steps)
    config = recipe.text(plugin, recipe.embedded(steps=options.steps, folder=recipe.EMBEDDED))
    config = config.replace(str(recipe.EMBEDDED), "embedded")
    known = (trained["rows_sha256"], trained["weights_sha256"])
    parts = [plugin.FRAMEWORK.requirements, *known, config, MOST_RUNS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def materials(steps: int = STEPS) -> dict[str, str]:
    """Return the digests of what every framework trains on: the checkpoint and the rows."""
    data = rows.generate(steps * recipe.embedded(steps=steps).settings.batch_size)
    weights = (recipe.EMBEDDED / "model.safetensors").read_bytes()
    return {
        "rows_sha256": rows.digest(data),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def measure(plugin: Plugin, options: BenchOptions, note: Callable[[str], None]) -> FrameworkRecord:
    """Measure a framework; whatever stops it becomes an ERROR with its last log lines."""
    begun = time.perf_counter()
    phases: list[str] = []
    figures: dict[str, Any] = {}
    status, reason, log = Status.PASS, "", ""
    try:
        _all(plugin, options, note, phases, figures)
        reason = f"trained {len(figures['train'])} times for {options.steps} steps"
    except (PreflightError, OSError, ValueError, KeyError) as error:
        # Also a full disk and an answer that is none: the other frameworks must still run.
        status = Status.ERROR
        reason = redact(f"{phases[-1] if phases else 'start'}: {error}")
        log = error.log if isinstance(error, ChildError) else ""
    return FrameworkRecord(
        framework=plugin.FRAMEWORK.name,
        status=status,
        reason=reason,
        inputs=digest(plugin, options),
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        machine={k: v for k, v in environment.capture().items() if k != "packages"},
        figures=figures,
        duration_s=time.perf_counter() - begun,
        log=tuple(log.splitlines()),
    )


def _all(
    plugin: Plugin,
    options: BenchOptions,
    note: Callable[[str], None],
    phases: list[str],
    figures: dict[str, Any],
) -> None:
    """Fill in the figures phase by phase; what was found before a failure stays."""
    framework = plugin.FRAMEWORK
    phases.append("install")
    venv = options.python.parent.parent
    if options.installing:
        found = install.install(framework, options.python, options.timeout_s, note)
    else:
        found = install.FrameworkInstallation(
            None, None, install.packages(venv), framework.requirements
        )
    figures["install"] = asdict(found)
    judged = judged_environment.inspect(options.python).to_json(options.folder)
    figures["environment"] = {key: judged[key] for key in ("path", "count", "digest")}
    figures["version"] = found.packages.get(framework.distribution, "unknown")
    bench = Bench(plugin, options.python, options.folder, options.timeout_s, note)
    phases.append("import")
    figures["import_s"] = [bench.time_import() for _ in range(IMPORTS)]
    run = recipe.embedded(steps=options.steps)
    phases.append("train")
    runs: list[TaskRun] = []
    described: list[dict[str, Any]] = []
    while len(runs) < RUNS or (len(runs) < MOST_RUNS and _apart(described) > AGREE):
        before = os.getloadavg()[0]
        runs.append(_train(plugin, bench, run, f"run {len(runs) + 1}", options))
        described.append(_described(runs[-1], options.steps) | {"load_before": round(before, 2)})
    figures["train"] = described
    config = recipe.text(plugin, run)
    lines = [line for line in config.splitlines() if line.strip() and not line.startswith("#")]
    figures["config_lines"] = len(lines) + int(runs[0].answer["script_lines"])
    figures["first_batch"] = runs[0].answer.get("first_batch")
    phases.append("adapter")
    figures["adapter"] = _adapter(bench, run, options)
    if framework.name == REFERENCE:
        phases.append("convention")
        figures["probe"] = bench.run("probe", "probe", _job(run, options)).answer
    phases.append("qlora")
    figures["qlora"] = _qlora(plugin, bench, run, options)


def _apart(runs: Sequence[Mapping[str, Any]]) -> float:
    """Return how far the slowest training is from the fastest, as a share."""
    found = [float(run["tokens_per_s"]) for run in runs]
    return max(found) / min(found) - 1


def _job(run: Recipe, options: BenchOptions) -> dict[str, Any]:
    data = rows.generate(run.steps * run.settings.batch_size)
    return {
        "rows": data,
        "questions": [row["messages"][0]["content"] for row in data[:QUESTIONS]],
        "answer_tokens": ANSWER_TOKENS,
        "model": run.model,
        "batch_size": run.settings.batch_size,
        "steps": run.steps,
        "seed": run.seed,
        **(options.extra or {}),
    }


def _train(plugin: Plugin, bench: Bench, run: Recipe, what: str, options: BenchOptions) -> TaskRun:
    """Train with exactly the file that `export` writes."""
    file = bench.run_dir(what) / plugin.FRAMEWORK.config_file
    recipe.write(plugin, run, file)
    done = bench.run(what, "train", {**_job(run, options), "config": file.name})
    if len(done.steps) != run.steps:
        raise ChildError(f"{what} recorded {len(done.steps)} steps of {run.steps}")
    return done


def _described(run: TaskRun, steps: int) -> dict[str, Any]:
    at_s = [float(line["at_s"]) for line in run.steps]
    steady = seconds(at_s)
    tokens = sum(int(line["tokens"]) for line in run.steps) / steps
    return {
        "at_s": [round(value, 5) for value in at_s],
        "loss": [float(line["loss"]) for line in run.steps],
        "tokens_per_step": tokens,
        "tokens_per_s": tokens / statistics.median(steady),
        "tokens_per_cpu_s": tokens / statistics.median(seconds([x["cpu_s"] for x in run.steps])),
        "first_step_s": at_s[0],
        "peak_rss_bytes": run.peak_rss_bytes,
        "duration_s": run.duration_s,
    }


def seconds(at_s: Sequence[float]) -> list[float]:
    """Return the seconds of the steady steps.

    Raises:
        ValueError: There are too few to speak of a median.
    """
    steady = [after - before for before, after in pairwise(at_s)][WARM_UP - 1 :]
    if len(steady) < WARM_UP:
        raise ValueError(f"{len(at_s)} steps are too few; at least {2 * WARM_UP} are needed")
    return steady


def _adapter(bench: Bench, run: Recipe, options: BenchOptions) -> dict[str, Any]:
    kept = sorted(bench.run_dir("run 1").glob("*/adapter*.safetensors"))
    if not kept:
        raise ChildError("the training left no adapter")
    folder = kept[0].parent
    said = bench.run("adapter", "answers", {**_job(run, options), "adapter": str(folder)}).answer
    pairs = zip(said["without"], said["with"], strict=True)
    return {
        "bytes": kept[0].stat().st_size,
        "scale": _scale(folder),
        "questions": len(said["with"]),
        "changed": sum(before != after for before, after in pairs),
        **said,
    }


def _scale(folder: Path) -> float:
    """Return by what B·A is multiplied, from the adapter's own configuration.

    MLX-LM stores the factor; PEFT stores alpha, which it divides by the rank.
    """
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise ChildError(f"the adapter has no {file.name}")
    data = read_json(file)
    if "lora_parameters" in data:
        return float(data["lora_parameters"]["scale"])
    return float(data["lora_alpha"]) / float(data["r"])


def _qlora(plugin: Plugin, bench: Bench, run: Recipe, options: BenchOptions) -> dict[str, Any]:
    """Return whether four bits train here, or the error that says why not."""
    small = recipe.in_four_bits(run, QLORA_STEPS)
    try:
        file = bench.run_dir("qlora") / plugin.FRAMEWORK.config_file
        recipe.write(plugin, small, file)
        done = bench.run("qlora", "qlora", {**_job(small, options), "config": file.name})
    except ChildError as error:
        return {"runs": False, "error": redact(str(error))[-600:]}
    return {
        "runs": len(done.steps) == QLORA_STEPS,
        "loss": [float(line["loss"]) for line in done.steps],
        "peak_rss_bytes": done.peak_rss_bytes,
    }
