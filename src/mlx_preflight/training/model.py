"""Run 3: the model is here, mlx-lm knows it, and its files and tokenizer are sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import printable, printable_list
from mlx_preflight.core.units import format_bytes, format_parameters
from mlx_preflight.criteria.model_under_test import error_outcome, text_measurement
from mlx_preflight.doctor.answers import SCANNED_BYTES
from mlx_preflight.models import checkpoint, files, locate, source, validation
from mlx_preflight.models.checkpoint import Checkpoint
from mlx_preflight.models.locate import ResolvedModel
from mlx_preflight.models.validation import ValidationReport
from mlx_preflight.plan import register, remedies
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training.training_run import TrainingRun, require_run

LOOK_S = 120.0
"""Longest time for a tokenizer to load; one of 262,144 tokens takes about two seconds."""


@dataclass(frozen=True, slots=True)
class TrainedModelFacts:
    """Facts of run 3, or why each of them is not known.

    Attributes:
        name: Model that is named.
        trusted: Whether the run lets code of the folder run.
        resolved: Where it is on this machine.
        config: Its config.json; from the catalog or the hub where the weights are not here.
        checkpoint: What its files declare.
        report: What they contradict each other in.
        look: What mlx_lm makes of config and tokenizer.
    """

    name: str
    trusted: bool
    resolved: ResolvedModel | PreflightError
    config: Mapping[str, Any] | PreflightError
    checkpoint: Checkpoint | PreflightError
    report: ValidationReport | PreflightError
    look: Mapping[str, Any] | PreflightError

    @property
    def model(self) -> dict[str, Any]:
        """Return what the result file stores about the model."""
        known = {} if isinstance(self.resolved, PreflightError) else self.resolved.describe()
        return {"trained_model": {"name": self.name, **known}}


def gather(_: Session, context: Context) -> TrainedModelFacts:
    """Find the model, read its headers, and let a child load its tokenizer."""
    run = require_run(context)
    resolved = or_error(lambda: locate.resolve(run.model))
    config = or_error(lambda: _config(run, resolved))
    inspected = or_error(lambda: checkpoint.inspect(_here(resolved).path))
    return TrainedModelFacts(
        name=run.model,
        trusted=bool(run.settings.get("trust_remote_code")),
        resolved=resolved,
        config=config,
        checkpoint=inspected,
        report=or_error(lambda: _validated(inspected)),
        look=or_error(lambda: _look(config, resolved)),
    )


def _here(resolved: ResolvedModel | PreflightError) -> ResolvedModel:
    if isinstance(resolved, PreflightError):
        raise resolved
    return resolved


def _config(run: TrainingRun, resolved: ResolvedModel | PreflightError) -> Mapping[str, Any]:
    if isinstance(resolved, BlockedError):
        return source.find(run.model).config
    path = files.confined(_here(resolved).path, "config.json")
    return files.read_object(path, files.MAX_CONFIG_BYTES)


def _validated(inspected: Checkpoint | PreflightError) -> ValidationReport:
    if isinstance(inspected, PreflightError):
        raise inspected
    scan = inspected.weight_bytes <= SCANNED_BYTES
    return validation.validate(inspected, chat=False, scan=scan)


def _look(
    config: Mapping[str, Any] | PreflightError, resolved: ResolvedModel | PreflightError
) -> Mapping[str, Any]:
    folder = None if isinstance(resolved, PreflightError) else str(resolved.path)
    known = None if isinstance(config, PreflightError) else dict(config)
    job = {"config": known, "tokenizer": folder}
    answer: Mapping[str, Any]
    answer = child.call("mlx_preflight.runtime.model_child", job, timeout_s=LOOK_S).value
    return answer


def run3_1(facts: TrainedModelFacts) -> Outcome:
    """Report where the model is."""
    resolved = facts.resolved
    if isinstance(resolved, PreflightError):
        return error_outcome(resolved)
    reason = f"{resolved.requested} is in the {resolved.source}"
    if resolved.source == "embedded":
        reason = "the embedded model is part of this package"
    elif resolved.source == "folder":
        reason = f"{resolved.path} is a folder on this machine"
    return Outcome(
        Status.PASS,
        reason,
        measurements=(
            text_measurement("location", resolved.path),
            text_measurement("revision", resolved.revision or "none"),
        ),
    )


def run3_2(facts: TrainedModelFacts) -> Outcome:
    """Report the module of mlx_lm that makes the model."""
    if isinstance(facts.config, PreflightError):
        return error_outcome(facts.config)
    look = _looked(facts, "architecture")
    kind = printable(facts.config.get("model_type"))
    if look["problem"]:
        remedy = "name a model that mlx-lm can build, or upgrade mlx-lm"
        return Outcome(
            Status.FAIL, f"mlx_lm cannot make the model: {look['problem']}", remedy=remedy
        )
    reason = f"model_type {kind} is made by {look['module']}"
    return Outcome(Status.PASS, reason, measurements=(text_measurement("module", look["module"]),))


def run3_3(facts: TrainedModelFacts) -> Outcome:
    """Report what the files contradict each other in, and what of them was examined."""
    inspected, report = facts.checkpoint, facts.report
    if isinstance(inspected, PreflightError):
        return error_outcome(inspected)
    if isinstance(report, PreflightError):
        return error_outcome(report)
    examined = (
        f"{len(inspected.files)} weights files, {len(inspected.tensors)} tensor headers, "
        f"{format_parameters(inspected.parameters)} parameters, "
        f"{format_bytes(inspected.weight_bytes)}"
    )
    if report.values.tensors:
        examined += f", {report.values.elements:,} values scanned for NaN"
    return Outcome(
        Status.FAIL if report.problems else Status.PASS,
        report.summary() or "; ".join([f"examined: {examined}", *report.notes]),
        measurements=(
            Measurement("tensors", len(inspected.tensors), "count"),
            Measurement("weight_bytes", inspected.weight_bytes, "bytes"),
            Measurement("parameters", inspected.parameters, "count"),
            Measurement("values_scanned", report.values.elements, "count"),
        ),
    )


def run3_4(facts: TrainedModelFacts) -> Outcome:
    """Report the tokenizer, and refuse a run that lets code of the folder run."""
    if isinstance(facts.resolved, PreflightError):
        return error_outcome(facts.resolved)
    inspected = facts.checkpoint
    code = () if isinstance(inspected, PreflightError) else inspected.remote_code
    if facts.trusted and code:
        reason = f"trust_remote_code is set, and the folder holds code: {printable_list(code)}"
        return Outcome(Status.FAIL, reason, remedy="leave trust_remote_code out")
    look = _looked(facts, "tokenizer")
    if look["problem"]:
        remedy = "use a model whose tokenizer needs no code" if code else remedies.OWN_TOKENIZER
        return Outcome(
            Status.FAIL, f"the tokenizer does not load: {look['problem']}", remedy=remedy
        )
    if look["end"] is None:
        reason = "the tokenizer has no end token: no row would teach where to stop"
        return Outcome(Status.FAIL, reason, remedy=remedies.OWN_TOKENIZER)
    rows = None if isinstance(inspected, PreflightError) else inspected.embedding_rows
    if rows is not None and look["end"] >= rows:
        reason = f"end token {look['end']} is beyond the {rows:,} rows of the embedding"
        return Outcome(Status.FAIL, reason, remedy=remedies.OWN_TOKENIZER)
    reason = f"{look['tokens']:,} tokens, end token {look['end']}"
    if code:
        reason += f"; code of the folder is never run: {printable_list(code)}"
    measurements = (
        Measurement("vocabulary", look["tokens"], "count"),
        text_measurement("end_tokens", " ".join(map(str, look["ends"]))),
    )
    return Outcome(Status.PASS, reason, measurements=measurements)


def _looked(facts: TrainedModelFacts, name: str) -> Mapping[str, Any]:
    if isinstance(facts.look, PreflightError):
        raise facts.look
    answer: Mapping[str, Any] = facts.look[name]
    return answer


CHECKS: dict[str, Callable[[TrainedModelFacts], Outcome]] = {
    register.RUN3_1: run3_1,
    register.RUN3_2: run3_2,
    register.RUN3_3: run3_3,
    register.RUN3_4: run3_4,
}
