"""Measure inference and QLoRA training for AC6, each in its own process.

The predictor is calibrated in the same run. For a known hub model that is not here the
training peak is its prediction, with the evidence `simulated`; nothing else is answered
in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight import isolate
from mlx_preflight.criteria import subject
from mlx_preflight.criteria.subject import Subject
from mlx_preflight.errors import BlockedError, PreflightError, ResultError
from mlx_preflight.memory import calibration, known, predict
from mlx_preflight.memory.calibration import Point
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import Settings
from mlx_preflight.model import runtime
from mlx_preflight.model.exchange import Generation, TrainingReport
from mlx_preflight.model.location import EMBEDDED_FOLDER
from mlx_preflight.plan import EMBEDDED, Session
from mlx_preflight.result import Evidence
from mlx_preflight.runner import Context

TARGET = next(item for item in known.models() if item.name == "qwen2.5-coder-7b")
"""The plan's model, whose estimate stands beside what is measured on the embedded one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what AC6 is judged by.

    Attributes:
        inference: Generation whose peak was taken.
        training: QLoRA run.
        estimate: Predicted training, for a hub model that is not here.
        target: Predicted training of the plan's model, beside a run of the embedded one.
        points: Predictions beside measurements on this machine.
        failures: Why a part is missing: `subject`, `inference`, `training`, `calibration`.
    """

    context: Context
    subject: Subject
    inference: Generation | None = None
    training: TrainingReport | None = None
    estimate: Prediction | None = None
    points: tuple[Point, ...] = ()
    target: Prediction | None = None
    failures: Mapping[str, PreflightError] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        """Return the resolved model for the result file."""
        return self.subject.describe()

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

    def calibrated(self) -> tuple[Point, ...]:
        """Return the points of the calibration, or raise why there are none."""
        if "calibration" in self.failures:
            raise self.failures["calibration"]
        if not self.points:
            raise ResultError("the predictor was not calibrated")
        return self.points

    def wanted(self) -> tuple[Mapping[str, Any], Settings]:
        """Return the model's config and the settings of the training run that was judged."""
        if self.estimate is not None and (found := known.find(self.context.model)):
            return found.config, self.estimate.settings
        config = self.subject.ready[1].config
        return config, calibration.settings_of(config, self.measured_training())

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


def gather(session: Session, context: Context) -> Facts:
    """Measure inference, then training, each in a fresh process."""
    found, settings = subject.find(context), context.settings
    failures: dict[str, PreflightError] = {}
    points: tuple[Point, ...] = ()
    inference: Generation | None = None
    context.note(f"{session.id}: calibrating the predictor, measuring inference")
    # Only bytes are taken from these, which are the same beside another process.
    with isolate.side_by_side(1) as pool:
        asked = pool.submit(_inference, context, found) if found.failure is None else None
        try:
            points = calibration.calibrate(EMBEDDED_FOLDER, timeout_s=settings.timeout_s)
        except PreflightError as error:
            failures["calibration"] = error
        try:
            inference = asked.result() if asked is not None else None
        except PreflightError as error:
            failures["inference"] = error
    if found.failure is not None:
        failures["subject"] = found.failure
        estimate = _estimate(context, found.failure)
        return Facts(context, found, estimate=estimate, points=points, failures=failures)
    resolved, files = found.ready
    training: TrainingReport | None = None
    context.note(f"{session.id}: measuring {settings.train_steps} QLoRA steps")
    try:
        training = runtime.train(
            resolved.path,
            runtime.prompts_for(resolved),
            steps=settings.train_steps,
            row_tokens=settings.train_tokens,
            timeout_s=settings.timeout_s,
        )
        points = (*points, calibration.of_run(files.config, training))
    except PreflightError as error:
        failures["training" if training is None else "calibration"] = error
    target: Prediction | None = None
    if context.model == EMBEDDED:
        target = predict_run(TARGET.config, settings.train_tokens, "metal")
    return Facts(context, found, inference, training, None, points, target, failures)


def _inference(context: Context, found: Subject) -> Generation:
    resolved, _ = found.ready
    return runtime.generate(
        resolved.path,
        runtime.prompts_for(resolved)[:1],
        max_tokens=context.settings.generate_tokens,
        timeout_s=context.settings.timeout_s,
    )


def _estimate(context: Context, failure: PreflightError) -> Prediction | None:
    found = known.find(context.model)
    if found is None or not isinstance(failure, BlockedError):
        return None
    return predict_run(found.config, context.settings.train_tokens, calibration.backend())


def predict_run(config: Mapping[str, Any], row_tokens: int, backend: str) -> Prediction:
    """Predict AC6's training run, which has one row and MLX-LM's defaults otherwise."""
    settings = Settings(batch_size=1, max_seq_length=row_tokens, bits=4, backend=backend)
    return predict.predict(config, settings)
