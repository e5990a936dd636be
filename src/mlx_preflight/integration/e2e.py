"""Judge integration test 1: import, load, infer and profile work one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.criteria import subject
from mlx_preflight.criteria.subject import Subject, count_text, failed, gb
from mlx_preflight.errors import BlockedError, PreflightError
from mlx_preflight.model import runtime
from mlx_preflight.model.exchange import Generation, LoadReport, TrainingReport
from mlx_preflight.plan import Session
from mlx_preflight.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.runner import Context

PROMPTS, TOKENS, STEPS = 1, 32, 3
"""As little as shows that the parts work together; AC4 to AC6 measure."""

END = {"stop": "up to the end token", "length": "cut there"}
"""Why mlx_lm's generation ended, in words."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what each step of the workflow gave, and what stopped it.

    Attributes:
        evidence: Tier of what is measured on this model.
        imported: Versions and device, from the import alone.
        failure: Error of the first step that failed.
        failed_step: Its number; later steps did not run.
    """

    subject: Subject
    evidence: Evidence
    imported: dict[str, Any] | None = None
    loaded: LoadReport | None = None
    answered: Generation | None = None
    trained: TrainingReport | None = None
    failure: PreflightError | None = None
    failed_step: int = 0

    @property
    def model(self) -> dict[str, Any]:
        """Return the resolved model for the result file."""
        return self.subject.describe()


def gather(session: Session, context: Context) -> Facts:
    """Run the four steps in order, each in a fresh process of this venv, until one fails."""
    timeout_s, step = context.settings.timeout_s, 1
    facts = Facts(subject.find(context), context.evidence)
    context.note(f"{session.id}: import, load, infer, profile")
    try:
        facts = replace(facts, imported=runtime.ask("import", {}, timeout_s=timeout_s))
        step = 2
        resolved, _ = facts.subject.ready
        facts = replace(facts, loaded=runtime.load(resolved.path, timeout_s=timeout_s))
        step, prompts = 3, runtime.prompts_for(resolved)[:PROMPTS]
        answered = runtime.generate(
            resolved.path, prompts, max_tokens=TOKENS, warm_up=False, timeout_s=timeout_s
        )
        facts, step = replace(facts, answered=answered), 4
        trained = runtime.train(
            resolved.path,
            prompts,
            steps=STEPS,
            row_tokens=context.settings.train_tokens,
            timeout_s=timeout_s,
        )
        return replace(facts, trained=trained)
    except PreflightError as error:
        return replace(facts, failure=error, failed_step=step)


def _stopped(facts: Facts, step: int) -> Outcome:
    """Return how a step ends that gave nothing: as its error, or blocked by an earlier one."""
    if facts.failure is None:
        return Outcome(Status.ERROR, f"step {step} gave no answer")
    if facts.failed_step == step or isinstance(facts.failure, BlockedError):
        return failed(facts.failure)
    return Outcome(Status.BLOCKED, f"step {facts.failed_step} failed: {facts.failure}")


def int1_1(facts: Facts) -> Outcome:
    """The framework imports and computes."""
    if facts.imported is None:
        return _stopped(facts, 1)
    found = facts.imported
    return Outcome(
        Status.PASS,
        f"mlx-lm {found['mlx-lm']} and mlx {found['mlx']} import and compute on {found['device']}",
        measurements=(Measurement("import_s", float(found["import_s"]), "s"),),
    )


def int1_2(facts: Facts) -> Outcome:
    """The model loads."""
    if facts.loaded is None:
        return _stopped(facts, 2)
    return Outcome(
        Status.PASS,
        f"{count_text(facts.loaded.parameters)} parameters loaded",
        facts.evidence,
        measurements=(Measurement("load_s", facts.loaded.load_s, "s"),),
    )


def int1_3(facts: Facts) -> Outcome:
    """The model answers with text."""
    if facts.answered is None:
        return _stopped(facts, 3)
    answer = facts.answered.answers[0]
    count = len(answer.token_ids)
    return Outcome(
        Status.PASS if answer.text.strip() else Status.FAIL,
        f"{count} tokens generated, {END.get(answer.finish_reason, answer.finish_reason)}",
        facts.evidence,
        measurements=(Measurement("answer_tokens", count, "tokens"),),
    )


def int1_4(facts: Facts) -> Outcome:
    """Memory is profiled in inference and in training."""
    if facts.trained is None or facts.answered is None:
        return _stopped(facts, 4)
    inference, training = facts.answered.memory.peak_bytes, facts.trained.memory.peak_bytes
    finite = None not in facts.trained.losses and not facts.trained.bad_adapters
    return Outcome(
        Status.PASS if finite and inference > 0 and training > 0 else Status.FAIL,
        f"peak memory {gb(inference)} in inference, {gb(training)} in training; losses and "
        f"adapters are {'' if finite else 'not '}finite",
        facts.evidence,
        measurements=(
            Measurement("inference_peak_bytes", inference, "bytes"),
            Measurement("training_peak_bytes", training, "bytes"),
        ),
    )
