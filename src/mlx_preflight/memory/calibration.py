"""Predict and measure training of the embedded model on this machine, side by side.

A prediction is only as good as its error where it is used: the points stand beside every
figure that is predicted for a model that was not run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight import isolate
from mlx_preflight.memory import measure, predict
from mlx_preflight.memory.settings import Settings, dtype_of
from mlx_preflight.model.exchange import TrainingReport

WORST_SHARE = 0.10
"""Error above which the predictor is not trusted on this machine (specification of AC6)."""

POINTS = {
    "checkpointed": Settings(batch_size=1, max_seq_length=256, num_layers=4, grad_checkpoint=True),
    "two rows, q and v, unquantized": Settings(
        batch_size=2,
        max_seq_length=128,
        num_layers=4,
        rank=16,
        keys=("self_attn.q_proj", "self_attn.v_proj"),
        bits=None,
    ),
}
"""What is run beside the model's own training; small enough for seconds on two cores."""


@dataclass(frozen=True, slots=True)
class Point:
    """Hold one setting's predicted and measured active peak, in bytes."""

    name: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """Return the signed error of the prediction, as a share of what was measured."""
        return self.predicted_bytes / self.measured_bytes - 1


def backend() -> str:
    """Return the backend that MLX computes on here: metal, cuda or cpu."""
    import mlx.core as mx  # noqa: PLC0415  (heavy)

    if mx.metal.is_available():
        return "metal"
    return "cuda" if mx.cuda.is_available() else "cpu"


def of_run(config: Mapping[str, Any], run: TrainingReport) -> Point:
    """Predict a training run that was measured anyway.

    Args:
        config: The model's config.json.
        run: What was measured.

    Raises:
        PreflightError: The model cannot be predicted.
    """
    settings = settings_of(config, run)
    return Point("AC6's run", predict.predict(config, settings).peak_bytes, run.memory.peak_bytes)


def settings_of(config: Mapping[str, Any], run: TrainingReport) -> Settings:
    """Return the settings of a measured run, on this machine's backend."""
    return Settings(
        batch_size=run.batch_size,
        max_seq_length=run.row_tokens,
        num_layers=run.layers,
        rank=run.rank,
        bits=run.bits or None,
        group_size=run.group_size,
        dtype=dtype_of(config),
        backend=backend(),
    )


def calibrate(folder: Path, *, timeout_s: float) -> tuple[Point, ...]:
    """Predict and measure every setting of `POINTS`.

    Args:
        folder: The embedded checkpoint; its config decides, the weights are random.
        timeout_s: Longest time of one measurement.

    Raises:
        ChildError: A measurement died or gave no answer.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    here = backend()

    def point(item: tuple[str, Settings]) -> Point:
        name, chosen = item
        found = measure.measure(config, chosen, timeout_s=timeout_s)
        return Point(name, predicted[name], found.peak_bytes)

    settings = {
        name: dataclasses.replace(item, backend=here, dtype=dtype_of(config))
        for name, item in POINTS.items()
    }
    predicted = {name: predict.predict(config, item).peak_bytes for name, item in settings.items()}
    # Memory, unlike time, is the same beside another process.
    with isolate.side_by_side(2) as pool:
        return tuple(pool.map(point, settings.items()))
