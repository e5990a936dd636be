"""Predicted and measured peaks of the embedded model on this machine, side by side.

A prediction is only as good as its error where it is used: the points stand beside every
figure that is predicted for a model that was not run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from mlx_preflight.core import child
from mlx_preflight.core.json_file import read_json
from mlx_preflight.memory import measure, predict
from mlx_preflight.memory.settings import Settings, dtype_of

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
class MeasuredPoint:
    """One setting's predicted and measured active peak, in bytes."""

    name: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """Return the signed error of the prediction, as a share of what was measured."""
        return self.predicted_bytes / self.measured_bytes - 1


def backend() -> str:
    """Return the backend that MLX computes on here: metal, cuda or cpu."""
    if mx.metal.is_available():
        return "metal"
    return "cuda" if mx.cuda.is_available() else "cpu"


def calibrate(folder: Path, *, timeout_s: float) -> tuple[MeasuredPoint, ...]:
    """Predict and measure every setting of `POINTS`.

    Args:
        folder: The embedded checkpoint; its config decides, the weights are random.
        timeout_s: Longest time of one measurement.

    Raises:
        ChildError: A measurement died or gave no answer.
    """
    config = read_json(folder / "config.json")
    here = backend()

    def point(item: tuple[str, Settings]) -> MeasuredPoint:
        name, chosen = item
        found = measure.measure(config, chosen, timeout_s=timeout_s)
        return MeasuredPoint(name, predicted[name], found.peak_bytes)

    settings = {
        name: dataclasses.replace(item, backend=here, dtype=dtype_of(config))
        for name, item in POINTS.items()
    }
    predicted = {name: predict.predict(config, item).peak_bytes for name, item in settings.items()}
    # Unlike time, memory stays within a few percent beside another process.
    with child.side_by_side(2) as pool:
        return tuple(pool.map(point, settings.items()))
