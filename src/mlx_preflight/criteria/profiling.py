"""Measurements of AC6: inference and QLoRA training, each in its own process.

The predictor is calibrated in the same run. For a known hub model that is not here the
training peak is its prediction, with the evidence `simulated`; nothing else is answered
in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, PreflightError, UntraceableError
from mlx_preflight.criteria import generated_docs, model_under_test, script
from mlx_preflight.criteria.memory_facts import SCRIPT, TARGET, PeakFacts
from mlx_preflight.criteria.model_under_test import ModelUnderTest
from mlx_preflight.documents import training_documents
from mlx_preflight.memory import calibration, predict
from mlx_preflight.memory.calibration import MeasuredPoint
from mlx_preflight.memory.fit import Search, fit
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import Settings, dtype_of
from mlx_preflight.models import catalog
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.models.dtypes import stored_dtype
from mlx_preflight.models.layout import Checkpoint
from mlx_preflight.plan.profiles import EMBEDDED
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers
from mlx_preflight.runtime.messages import Generation, TrainingReport


def gather(session: Session, context: Context) -> PeakFacts:
    """Measure inference and training, and search settings that fit where these do not."""
    facts = _measure(session, context)
    return replace(facts, alternatives=search(facts))


def search(facts: PeakFacts) -> Search | PreflightError | None:
    """Return settings that fit the budget; None where the judged ones do."""
    budget = facts.context.budget_bytes
    try:
        return fit(*_wanted(facts), budget) if facts.needed()[0] > budget else None
    except PreflightError as error:
        return error


def _wanted(facts: PeakFacts) -> tuple[Mapping[str, Any], Settings]:
    """Return the model's config and the settings of the training run that was judged."""
    if facts.estimate is not None and (found := catalog.find(facts.context.model)):
        return found.config, facts.estimate.settings
    files = facts.subject.ready[1]
    return files.config, read_settings(files, facts.measured_training())


def _measure(session: Session, context: Context) -> PeakFacts:
    found, settings = model_under_test.find(context), context.settings
    document = generated_docs.compare(training_documents.MEMORY, context.project)
    facts = PeakFacts(context, found, script.inspect(context.project, SCRIPT), document)
    failures: dict[str, PreflightError] = {}
    points: tuple[MeasuredPoint, ...] = ()
    inference: Generation | None = None
    context.note(f"{session.id}: calibrating the predictor, measuring inference")
    # Only bytes are taken from these, which are the same beside another process.
    with child.side_by_side(1) as pool:
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
        return replace(facts, estimate=estimate, points=points, failures=failures)
    resolved, files = found.ready
    training: TrainingReport | None = None
    unpredicted = ""
    context.note(f"{session.id}: measuring {settings.train_steps} QLoRA steps")
    try:
        training = workers.train(
            resolved.path,
            workers.prompts_for(resolved),
            steps=settings.train_steps,
            row_tokens=settings.train_tokens,
            timeout_s=settings.timeout_s,
        )
        points = (*points, predict_measured_run(files, training))
    except UntraceableError as error:
        unpredicted = str(error)
    except PreflightError as error:
        failures["training" if training is None else "calibration"] = error
    target: Prediction | None = None
    if context.model == EMBEDDED:
        target = predict_run(TARGET.config, settings.train_tokens, "metal")
    return replace(
        facts,
        inference=inference,
        training=training,
        points=points,
        target=target,
        unpredicted=unpredicted,
        failures=failures,
    )


def _inference(context: Context, found: ModelUnderTest) -> Generation:
    resolved, _ = found.ready
    return workers.generate(
        resolved.path,
        workers.prompts_for(resolved)[:1],
        max_tokens=context.settings.generate_tokens,
        timeout_s=context.settings.timeout_s,
    )


def _estimate(context: Context, failure: PreflightError) -> Prediction | None:
    found = catalog.find(context.model)
    if found is None or not isinstance(failure, BlockedError):
        return None
    return predict_run(found.config, context.settings.train_tokens, calibration.backend())


def predict_run(config: Mapping[str, Any], row_tokens: int, backend: str) -> Prediction:
    """Predict AC6's training run, which has one row and MLX-LM's defaults otherwise."""
    settings = Settings(batch_size=1, max_seq_length=row_tokens, bits=4, backend=backend)
    return predict.predict(config, settings)


def predict_measured_run(files: Checkpoint, run: TrainingReport) -> MeasuredPoint:
    """Predict a training run that was measured anyway.

    Raises:
        PreflightError: The model cannot be predicted.
    """
    found = predict.predict(files.config, read_settings(files, run))
    return MeasuredPoint("AC6's run", found.peak_bytes, run.memory.peak_bytes)


def read_settings(files: Checkpoint, run: TrainingReport) -> Settings:
    """Return the settings of a measured run, on this machine's backend.

    The type is that of the stored bytes, which mlx_lm loads whatever config.json says.
    """
    return Settings(
        batch_size=run.batch_size,
        max_seq_length=run.row_tokens,
        num_layers=run.layers,
        rank=run.rank,
        bits=run.bits or None,
        group_size=run.group_size,
        dtype=stored_dtype(files) or dtype_of(files.config),
        backend=calibration.backend(),
    )
