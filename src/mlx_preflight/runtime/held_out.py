"""Held-out loss inside a child, by mlx_lm's own `evaluate`.

Rows and templates are untrusted: an error is told by its kind, never by its text.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import numpy as np
from mlx_lm.lora import CONFIG_DEFAULTS
from mlx_lm.tuner.datasets import CacheDataset, ConcatenatedDataset, create_dataset
from mlx_lm.tuner.trainer import default_loss, evaluate

from mlx_preflight.runtime import data_file
from mlx_preflight.runtime.foreign import attempt


def loss(model: Any, tokenizer: Any, job: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean and losses of the validation batches that the trainer would take.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        job: `path` of the rows, `sections` (first line and settings of each part), `settings` of
            the run; mlx-lm's defaults stand for what is absent.

    Returns:
        `mean` and `batches` (None where a loss is not finite), and `problem`, the kind of the
        error where rows cannot be read.
    """
    found = attempt(lambda: _losses(model, tokenizer, job))
    if isinstance(found, Exception):
        return {"problem": type(found).__name__, "mean": None, "batches": [], "rows": 0}
    mean, batches, rows = found
    kept = [_finite(value) for value in batches]
    return {"problem": "", "mean": _finite(mean), "batches": kept, "rows": rows}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _losses(model: Any, tokenizer: Any, job: Mapping[str, Any]) -> tuple[float, list[float], int]:
    settings = {**CONFIG_DEFAULTS, **job["settings"]}
    rows = _dataset(tokenizer, job)
    losses: list[mx.array] = []

    def recorded(model: Any, batch: mx.array, lengths: mx.array) -> tuple[mx.array, mx.array]:
        value, count = default_loss(model, batch, lengths)
        losses.append(value)
        return value, count

    # The order of the batches is drawn; with one seed all models meet the same ones.
    np.random.seed(settings["seed"])
    mean = evaluate(
        model=model,
        dataset=CacheDataset(rows),
        batch_size=min(settings["batch_size"], len(rows)),
        num_batches=settings["val_batches"],
        max_seq_length=settings["max_seq_length"],
        loss=recorded,
    )
    return cast("float", mean), [cast("float", value.item()) for value in losses], len(rows)


def _dataset(tokenizer: Any, job: Mapping[str, Any]) -> Any:
    """Return mlx-lm's dataset of a file, in which several sets may be joined."""
    with data_file.open_regular(Path(job["path"])) as stream:
        rows = [json.loads(line) for line in stream]
    starts = [line - 1 for line, _ in job["sections"]]
    ends = [*starts[1:], len(rows)]
    parts = [
        create_dataset(rows[start:end], tokenizer, types.SimpleNamespace(**settings))
        for (_, settings), start, end in zip(job["sections"], starts, ends, strict=True)
    ]
    return parts[0] if len(parts) == 1 else ConcatenatedDataset(parts)
