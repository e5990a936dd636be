"""Facts of AC6: what was measured and predicted, and how it is known.

The predictor imports mlx, so what only names its types imports it for type checkers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlx_preflight.core.errors import PreflightError, ResultError
from mlx_preflight.core.result import Evidence
from mlx_preflight.criteria.generated_docs import DocumentCheck
from mlx_preflight.criteria.model_under_test import ModelFacts
from mlx_preflight.criteria.script import Script
from mlx_preflight.models import catalog
from mlx_preflight.runtime.messages import Generation, TrainingReport

if TYPE_CHECKING:
    from mlx_preflight.memory.calibration import MeasuredPoint
    from mlx_preflight.memory.fit import Search
    from mlx_preflight.memory.predict import Prediction

SCRIPT = "memory_profile.py"

TARGET = next(item for item in catalog.models() if item.name == "qwen2.5-coder-7b")
"""The plan's model, whose estimate stands beside what is measured on the embedded one."""


@dataclass(frozen=True, slots=True)
class PeakFacts(ModelFacts):
    """Facts of AC6.

    Attributes:
        script: The profiling script.
        document: The page of the memory profile, beside its evidence.
        inference: Generation whose peak was taken.
        training: QLoRA run.
        estimate: Predicted training, for a hub model that is not here.
        target: Predicted training of the plan's model, beside a run of the embedded one.
        points: Predictions beside measurements on this machine.
        unpredicted: Why the measured run itself could not be predicted; empty when it was.
        alternatives: Settings that fit, where the training does not, or why none were found.
        failures: Why a part is missing: `subject`, `inference`, `training`, `calibration`.
    """

    script: Script
    document: DocumentCheck
    inference: Generation | None = None
    training: TrainingReport | None = None
    estimate: Prediction | None = None
    points: tuple[MeasuredPoint, ...] = ()
    target: Prediction | None = None
    unpredicted: str = ""
    alternatives: Search | PreflightError | None = None
    failures: Mapping[str, PreflightError] = field(default_factory=dict)

    def measured_inference(self) -> Generation:
        """Return the inference run, or raise why there is none."""
        self._raise("inference")
        if self.inference is None:
            raise ResultError("inference was not measured")
        return self.inference

    def measured_training(self) -> TrainingReport:
        """Return the training run, or raise why there is none."""
        self._raise("training")
        if self.training is None or not self.training.peak_bytes:
            raise ResultError("training was not measured")
        return self.training

    def _raise(self, part: str) -> None:
        for name in ("subject", part):
            if name in self.failures:
                raise self.failures[name]

    def calibrated(self) -> tuple[MeasuredPoint, ...]:
        """Return the points of the calibration, or raise why there are none."""
        if "calibration" in self.failures:
            raise self.failures["calibration"]
        if not self.points:
            raise ResultError("the predictor was not calibrated")
        return self.points

    def needed(self) -> tuple[int, str]:
        """Return the bytes that must fit the budget, and which counter gave them."""
        size, _, _ = self.training_bytes()
        resident = 0 if self.estimate is not None else self.measured_training().memory.rss_bytes
        return max((size, "active peak"), (resident, "process peak"))

    def training_bytes(self) -> tuple[int, Evidence | None, str]:
        """Return the training peak in bytes, how it is known, and that in words."""
        if self.estimate is not None:
            chosen = self.estimate.settings
            return (
                self.estimate.peak_high_bytes,
                Evidence.SIMULATED,
                (
                    f"upper end of the prediction for 1 x {chosen.max_seq_length} tokens, "
                    f"{chosen.num_layers} layers, rank {chosen.rank}, {chosen.bits} bit on "
                    f"{chosen.backend}, not run"
                ),
            )
        run = self.measured_training()
        shape = f"{run.batch_size} x {run.row_tokens} tokens, {run.layers} layers, rank {run.rank}"
        return run.memory.peak_bytes, None, f"measured, {shape}, {run.bits} bit"
