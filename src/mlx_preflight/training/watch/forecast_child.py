"""Task of the child that judges a run for the watch; it imports mlx."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_preflight.core import child_main
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.plan import settings as project_table
from mlx_preflight.run.context import Context
from mlx_preflight.training import (
    adapters,
    batches,
    command,
    config_facts,
    peaks,
    rows,
    run_curve,
    timing,
)
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.training_run import TrainingRun, read_run
from mlx_preflight.training.watch.forecast import Forecast, to_json

KEPT_ITERATIONS = 200_000
"""Iterations whose widths are handed over; of a longer run they are left out."""

KEPT_NAN = 1_000

SETTINGS = (
    *("batch_size", "iters", "num_layers", "max_seq_length", "fine_tune_type", "optimizer"),
    *("learning_rate", "grad_checkpoint", "grad_accumulation_steps", "mask_prompt", "seed"),
    *("steps_per_eval", "steps_per_report", "save_every", "val_batches"),
)
"""Settings that a record keeps beside rank, dropout, scale and keys."""


def expected_step_s(context: Context, run: TrainingRun, found: Batches) -> tuple[float, ...] | None:
    """Return the seconds of every iteration's step, validations not counted.

    None means that they are not known: neither a rehearsal nor a calibration is kept, and the
    chip is in no table. Nothing is measured beside the run.
    """
    try:
        times = timing.find(context, run, found, probe=False)
    except PreflightError:
        return None
    return tuple(float(seconds) for seconds in times.train.at(found.widths))


def predict(job: dict[str, Any]) -> dict[str, Any]:
    """Return the forecast of a command as JSON data.

    Raises:
        PreflightError: Its settings cannot be read.
    """
    folder = Path(job["folder"])
    has_table = (folder / "pyproject.toml").is_file()
    table = project_table.load_settings(folder) if has_table else project_table.ProjectSettings()
    request = command.request_of(job["words"], None)
    context = Context.of(folder, table, training=request, note=lambda _: None)
    unknown: dict[str, list[str]] = {}
    values = {**_settings(read_run(context)), **_batches(context, unknown)}
    values |= _peak(context, unknown)
    reasons = tuple(f"{', '.join(names)}: {reason}" for reason, names in unknown.items())
    return to_json(Forecast(unknown=reasons, **values))


def _settings(run: TrainingRun) -> dict[str, Any]:
    """Return what the settings alone say."""
    known = {name: run.settings.get(name) for name in SETTINGS}
    lora = run.settings.get("lora_parameters")
    if isinstance(lora, dict):
        known |= {f"lora_{k}": lora.get(k) for k in ("rank", "dropout", "scale", "keys")}
    numbers = {name: _whole(run, name) for name in ("iters", "save_every", "steps_per_eval")}
    return {
        "model": str(run.settings["model"]),
        "settings": {name: _plain(value) for name, value in known.items()},
        "here": run.here,
        **(numbers if run.settings["train"] else {}),
        "adapter_folder": str(run.path("adapter_path")) if run.settings["train"] else None,
    }


def _whole(run: TrainingRun, name: str) -> int | None:
    value = run.settings[name]
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    return value if isinstance(value, str | int | float | list | None) else str(value)


def _attempt(
    name: str, unknown: dict[str, list[str]], read: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what is read; where it cannot be, say why and return nothing."""
    try:
        return read()
    except PreflightError as error:
        unknown.setdefault(str(error), []).append(name)
        return {}


def _batches(context: Context, unknown: dict[str, list[str]]) -> dict[str, Any]:
    """Return what the rows say, and the size of the adapters."""

    def read() -> dict[str, Any]:
        run = config_facts.usable_run(context)
        found = batches.of_run(run, rows.read_rows(context, run, rows.tokenizer_folder(run)))
        if found.failure is not None:
            text = f"the trainer is predicted to fail at iteration {found.failure.iteration:,}"
            unknown.setdefault(text, []).append("later steps")
        kept = len(found.widths) <= KEPT_ITERATIONS
        return {
            "widths": found.widths if kept else None,
            "nan_iterations": found.nan_iterations[:KEPT_NAN],
            "nan_count": len(found.nan_iterations),
            "step_s": expected_step_s(context, run, found) if kept else None,
            "digest": timing.digest(run) if kept else "",
            "validations": _validations(found),
        }

    def size() -> dict[str, Any]:
        run = config_facts.usable_run(context)
        return {"adapter_bytes": adapters.of_run(run).nbytes} if run.settings["train"] else {}

    return {
        **_attempt("batches", unknown, read),
        **_attempt("size of the adapters", unknown, size),
    }


def _validations(found: Batches) -> list[tuple[int, int]]:
    """Return number of batches and sum of widths of the first validations."""
    first = found.validations[: run_curve.MOST_WINDOWS]
    return [(len(item.widths), sum(item.widths)) for item in first]


def _peak(context: Context, unknown: dict[str, list[str]]) -> dict[str, Any]:
    """Return the higher peak of training and validation."""

    def read() -> dict[str, Any]:
        both = [item for item in peaks.predict(context) if item and not isinstance(item, str)]
        for item in both:
            if isinstance(item, PreflightError):
                raise item
        if not both:
            return {}
        top = max(both, key=lambda item: item.prediction.peak_high_bytes)
        found = top.prediction
        return {
            "peak_bytes": found.peak_bytes,
            "peak_low_bytes": found.peak_low_bytes,
            "peak_high_bytes": found.peak_high_bytes,
            "peak_iteration": top.iteration,
        }

    return _attempt("peak memory", unknown, read)


if __name__ == "__main__":
    sys.exit(child_main.run_job(predict, sys.argv[1:]))
