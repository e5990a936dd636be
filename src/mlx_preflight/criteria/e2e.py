"""Integration test 1: import, load, infer and profile work one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.core.errors import BlockedError, PreflightError
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_bytes, format_parameters
from mlx_preflight.criteria import coherence, model_under_test
from mlx_preflight.criteria.model_under_test import ModelFacts, error_outcome
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers
from mlx_preflight.runtime.messages import Generation, LoadReport, TrainingReport

PROMPTS, TOKENS, STEPS = 1, 32, 3
"""As little as shows that the parts work together; AC4 to AC6 measure."""

END = {"stop": "up to the end token", "length": "cut there"}
"""Why mlx_lm's generation ended, in words."""


@dataclass(frozen=True, slots=True)
class WorkflowFacts(ModelFacts):
    """Result of each step of the workflow, and the error that stopped it.

    Attributes:
        imported: Versions and device, from the import alone.
        failure: Error of the first step that failed.
        failed_step: Its number; later steps did not run.
    """

    imported: dict[str, Any] | None = None
    loaded: LoadReport | None = None
    answered: Generation | None = None
    trained: TrainingReport | None = None
    failure: PreflightError | None = None
    failed_step: int = 0


def gather(session: Session, context: Context) -> WorkflowFacts:
    """Run the four steps in order, each in a fresh process of this venv, until one fails."""
    timeout_s, step = context.settings.timeout_s, 1
    facts = WorkflowFacts(context, model_under_test.find(context))
    context.note(f"{session.id}: import, load, infer, profile")
    try:
        facts = replace(facts, imported=workers.ask("import", {}, timeout_s=timeout_s))
        step = 2
        resolved, _ = facts.subject.ready
        facts = replace(facts, loaded=workers.load(resolved.path, timeout_s=timeout_s))
        step, prompts = 3, workers.prompts_for(resolved)[:PROMPTS]
        answered = workers.generate(
            resolved.path, prompts, max_tokens=TOKENS, warm_up=False, timeout_s=timeout_s
        )
        facts, step = replace(facts, answered=answered), 4
        trained = workers.train(
            resolved.path,
            prompts,
            steps=STEPS,
            row_tokens=context.settings.train_tokens,
            timeout_s=timeout_s,
        )
        return replace(facts, trained=trained)
    except PreflightError as error:
        return replace(facts, failure=error, failed_step=step)


def _stop_outcome(facts: WorkflowFacts, step: int) -> Outcome:
    """Return how a step ends that gave nothing: as its error, or blocked by an earlier one."""
    if facts.failure is None:
        return Outcome(Status.ERROR, f"step {step} gave no answer")
    if facts.failed_step == step or isinstance(facts.failure, BlockedError):
        return error_outcome(facts.failure)
    return Outcome(Status.BLOCKED, f"step {facts.failed_step} failed: {facts.failure}")


def int1_1(facts: WorkflowFacts) -> Outcome:
    """Prove that the framework imports and computes."""
    if facts.imported is None:
        return _stop_outcome(facts, 1)
    found = facts.imported
    return Outcome(
        Status.PASS,
        f"mlx-lm {found['mlx-lm']} and mlx {found['mlx']} import and compute on {found['device']}",
        measurements=(Measurement("import_s", float(found["import_s"]), "s"),),
    )


def int1_2(facts: WorkflowFacts) -> Outcome:
    """Prove that the model loads."""
    if facts.loaded is None:
        return _stop_outcome(facts, 2)
    reason = f"{format_parameters(facts.loaded.parameters)} parameters loaded"
    measured = (Measurement("load_s", facts.loaded.load_s, "s"),)
    return Outcome(Status.PASS, reason, facts.context.evidence, measurements=measured)


def int1_3(facts: WorkflowFacts) -> Outcome:
    """Prove that the model answers with text, which random weights need not."""
    if facts.answered is None:
        return _stop_outcome(facts, 3)
    answer = facts.answered.answers[0]
    count = len(answer.token_ids)
    wrong = [] if answer.text.strip() else ["the answer has no text"]
    if facts.context.evidence is not Evidence.SYNTHETIC:
        wrong += coherence.gibberish_faults(answer.text, answer.token_ids, answer.mean_logprob)
    said = f"{count} tokens generated, {END.get(answer.finish_reason, answer.finish_reason)}"
    return Outcome(
        Status.FAIL if wrong else Status.PASS,
        "; ".join([said, *wrong]),
        facts.context.evidence,
        remedy="check weights and tokenizer: `nox -s ac4-loading`" if wrong else "",
        measurements=(Measurement("answer_tokens", count, "tokens"),),
    )


def int1_4(facts: WorkflowFacts) -> Outcome:
    """Prove that memory is profiled in inference and in training."""
    if facts.trained is None or facts.answered is None:
        return _stop_outcome(facts, 4)
    inference, training = facts.answered.memory.peak_bytes, facts.trained.memory.peak_bytes
    finite = None not in facts.trained.losses and not facts.trained.bad_adapters
    return Outcome(
        Status.PASS if finite and inference > 0 and training > 0 else Status.FAIL,
        f"peak memory {format_bytes(inference)} in inference, {format_bytes(training)} in "
        f"training; losses and adapters are {'' if finite else 'not '}finite",
        facts.context.evidence,
        measurements=(
            Measurement("inference_peak_bytes", inference, "bytes"),
            Measurement("training_peak_bytes", training, "bytes"),
        ),
    )


CHECKS = {
    register.INT1_1: int1_1,
    register.INT1_2: int1_2,
    register.INT1_3: int1_3,
    register.INT1_4: int1_4,
}
