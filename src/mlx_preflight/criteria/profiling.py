"""Measure inference and QLoRA training for AC6, each in its own process.

For a known hub model that is not here the training peak is a closed-form estimate with
the evidence `simulated`; nothing else is answered in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight.criteria import subject
from mlx_preflight.criteria.subject import Subject
from mlx_preflight.errors import BlockedError, PreflightError, ResultError
from mlx_preflight.memory import closed_form
from mlx_preflight.model import runtime
from mlx_preflight.model.exchange import Generation, TrainingReport
from mlx_preflight.plan import Session
from mlx_preflight.result import Evidence
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what AC6 is judged by.

    Attributes:
        inference: Generation whose peak was taken.
        training: QLoRA run.
        estimate: Closed-form bytes by category, for a hub model that is not here.
        failures: Why a part is missing, by `subject`, `inference` or `training`.
    """

    context: Context
    subject: Subject
    inference: Generation | None = None
    training: TrainingReport | None = None
    estimate: Mapping[str, int] | None = None
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

    def training_bytes(self) -> tuple[int, Evidence | None, str]:
        """Return the training peak in bytes, how it is known, and that in words."""
        if self.estimate is not None:
            length = self.context.settings.train_tokens
            return (
                self.estimate["total"],
                Evidence.SIMULATED,
                f"estimated in closed form for 1 x {length} tokens, not run",
            )
        run = self.measured_training()
        shape = f"{run.batch_size} x {run.row_tokens} tokens, {run.layers} layers, rank {run.rank}"
        return run.memory.peak_bytes, None, f"measured, {shape}, {run.bits} bit"


def gather(session: Session, context: Context) -> Facts:
    """Measure inference, then training, each in a fresh process."""
    found = subject.find(context)
    if found.failure is not None:
        return Facts(
            context,
            found,
            estimate=_estimate(context, found.failure),
            failures={"subject": found.failure},
        )
    resolved, _ = found.ready
    prompts, settings = runtime.prompts_for(resolved), context.settings
    failures: dict[str, PreflightError] = {}
    inference: Generation | None = None
    training: TrainingReport | None = None
    context.note(f"{session.id}: measuring inference")
    try:
        inference = runtime.generate(
            resolved.path,
            prompts[:1],
            max_tokens=settings.generate_tokens,
            timeout_s=settings.timeout_s,
        )
    except PreflightError as error:
        failures["inference"] = error
    context.note(f"{session.id}: measuring {settings.train_steps} QLoRA steps")
    try:
        training = runtime.train(
            resolved.path,
            prompts,
            steps=settings.train_steps,
            row_tokens=settings.train_tokens,
            timeout_s=settings.timeout_s,
        )
    except PreflightError as error:
        failures["training"] = error
    return Facts(context, found, inference, training, None, failures)


def _estimate(context: Context, failure: PreflightError) -> Mapping[str, int] | None:
    config = closed_form.published_config(context.model)
    if config is None or not isinstance(failure, BlockedError):
        return None
    return closed_form.estimate_training(config, row_tokens=context.settings.train_tokens)
