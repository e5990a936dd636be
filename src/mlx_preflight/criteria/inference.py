"""AC5: the model answers, at length, sensibly, measurably and reproducibly."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mlx_preflight.core.errors import PreflightError, ResultError, or_error
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import format_number, format_seconds
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import (
    answers,
    coherence,
    generated_docs,
    model_under_test,
    script,
    sign_off,
)
from mlx_preflight.criteria.coherence import Judgement
from mlx_preflight.criteria.generated_docs import DocumentCheck
from mlx_preflight.criteria.model_under_test import ModelFacts, error_outcome, text_measurement
from mlx_preflight.criteria.script import Script
from mlx_preflight.criteria.sign_off import SignOffState
from mlx_preflight.documents import training_documents
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers
from mlx_preflight.runtime.messages import Generation

SCRIPT = "inference_test.py"

MIN_TOKENS = 20
"""The plan's least length of an answer."""
MIN_SAMPLES = 3
"""Fewer prompts give no median worth the name."""
MIN_REPEATED = 2
"""One answer would not show that the seed is set again for each prompt."""
REPEATED = 3
"""Prompts asked again in a second process; at least two, to see the seed reset between them."""

_OWN_END = "set eos_token_id of generation_config.json to the token that ends a turn (AC4.4)"


@dataclass(frozen=True, slots=True)
class InferenceFacts(ModelFacts):
    """Facts of AC5.

    Attributes:
        script: The inference script.
        document: The page of answers, beside its evidence.
        prompts: What was asked.
        generation: First run; None when `failure` is set.
        repeat: Second run of the first prompts, or why there is none.
        judgements: One per answer.
        digest: Of the answers as judged.
        stored: The answers as read back, or why they could not be.
        signed: Whether a person has read these answers, or why that is not known.
        failure: Why there are no answers.
    """

    script: Script
    document: DocumentCheck
    prompts: Sequence[Mapping[str, Any]] = ()
    generation: Generation | None = None
    repeat: Generation | PreflightError | None = None
    judgements: tuple[Judgement, ...] = ()
    digest: str = ""
    stored: Mapping[str, Any] | PreflightError = field(default_factory=dict)
    signed: SignOffState | PreflightError = sign_off.NONE
    failure: PreflightError | None = None

    def answered(self) -> Generation:
        """Return the first run, or raise why there is none."""
        if self.failure is not None:
            raise self.failure
        if self.generation is None:
            raise ResultError("no answers were generated")
        return self.generation


def gather(session: Session, context: Context) -> InferenceFacts:
    """Answer every prompt, judge and save the answers, then ask some again."""
    found = model_under_test.find(context)
    document = generated_docs.compare(training_documents.INFERENCE, context.project)
    facts = InferenceFacts(context, found, script.inspect(context.project, SCRIPT), document)
    if found.failure is not None:
        return replace(facts, failure=found.failure)
    resolved, _ = found.ready
    prompts = workers.prompts_for(resolved)
    context.note(f"{session.id}: {one_line(resolved.requested)} answers {len(prompts)} prompts")
    try:
        generation = _generate(context, resolved, prompts)
    except PreflightError as error:
        return replace(facts, prompts=prompts, failure=error)
    judgements = judge_all(generation, prompts, run=context.settings.run_answers)
    judged = answers.canonical(found.fingerprint, generation, prompts)
    answers.save(context.state, judged, generation, judgements, found.describe())
    repeat = or_error(lambda: _generate(context, resolved, prompts[:REPEATED], warm_up=False))
    done = replace(facts, prompts=prompts, generation=generation, judgements=judgements)
    return read_back(replace(done, digest=answers.digest(judged), repeat=repeat))


def read_back(facts: InferenceFacts) -> InferenceFacts:
    """Read the stored answers, and what a person said of them."""
    state = facts.context.state
    return replace(
        facts,
        stored=or_error(lambda: answers.read(state)),
        signed=or_error(lambda: sign_off.state(state, sign_off.AC5, facts.digest)),
    )


def _generate(
    context: Context,
    resolved: workers.ResolvedModel,
    prompts: Sequence[Mapping[str, Any]],
    *,
    warm_up: bool = True,
) -> Generation:
    return workers.generate(
        resolved.path,
        prompts,
        max_tokens=context.settings.generate_tokens,
        warm_up=warm_up,
        timeout_s=context.settings.timeout_s,
    )


def judge_all(
    generation: Generation, prompts: Sequence[Mapping[str, Any]], *, run: bool
) -> tuple[Judgement, ...]:
    """Judge every answer of a generation against its prompt."""
    return tuple(
        coherence.judge(
            answer.text,
            answer.token_ids,
            answer.mean_logprob,
            function=prompt["function"],
            examples=prompt["examples"],
            run=run,
        )
        for prompt, answer in zip(prompts, generation.answers, strict=True)
    )


def ac5_2(facts: InferenceFacts) -> Outcome:
    """Count the prompts that got an answer, and the answers that were cut."""
    if facts.failure is not None:
        return error_outcome(facts.failure)
    generation = facts.answered()
    ended = sum(answer.finish_reason == "stop" for answer in generation.answers)
    cut = len(generation.answers) - ended
    reason = (
        f"{len(generation.answers)} of {len(facts.prompts)} prompts answered on "
        f"{generation.device}; {ended} ended with the end token, {cut} were cut at "
        f"{generation.max_tokens} tokens"
    )
    complete = len(generation.answers) == len(facts.prompts) > 0
    synthetic = facts.context.evidence is Evidence.SYNTHETIC
    fault = "" if synthetic else coherence.endless_fault(generation)
    return Outcome(
        Status.PASS if complete and not fault else Status.FAIL,
        f"{reason}; {fault}" if fault else reason,
        remedy=_OWN_END if fault else "",
        measurements=(
            Measurement("answers", len(generation.answers), "count"),
            Measurement("ended_answers", ended, "count"),
            Measurement("ran_on_answers", len(generation.ran_on), "count", limit="== 0"),
            Measurement("seed", generation.seed, "count"),
            Measurement("temperature", generation.temperature, "ratio"),
        ),
    )


def ac5_3(facts: InferenceFacts) -> Outcome:
    """Compare the length of every answer with the plan's twenty tokens."""
    lengths = [len(answer.token_ids) for answer in facts.answered().answers]
    long_enough = sum(length >= MIN_TOKENS for length in lengths)
    measurement = Measurement(
        "shortest_answer_tokens", min(lengths), "tokens", f">= {MIN_TOKENS}", tuple(lengths)
    )
    return Outcome(
        Status.PASS if long_enough == len(lengths) else Status.FAIL,
        f"{long_enough} of {len(lengths)} answers have at least {MIN_TOKENS} tokens; "
        f"the shortest has {min(lengths)}",
        measurements=(measurement,),
    )


def ac5_4(facts: InferenceFacts) -> Outcome:
    """Judge that the answers do what was asked; where required a person must agree."""
    facts.answered()
    if facts.context.evidence is Evidence.SYNTHETIC:
        return Outcome(
            Status.BLOCKED,
            "random weights answer nothing that could be judged",
            remedy="qualify the real model: `nox -- --profile qwen2.5-coder-7b`",
        )
    state = facts.signed
    if isinstance(state, PreflightError):
        raise state
    measurements = (
        *coherence.measurements(facts.judgements),
        text_measurement("human_sign_off", state.describe()),
    )
    correct = sum(item.correct for item in facts.judgements)
    gibberish = sum(item.gibberish for item in facts.judgements)
    total = len(facts.judgements)
    did = "pass all their examples" if facts.context.settings.run_answers else "define the function"
    reason = f"{correct} of {total} answers {did}, {gibberish} are gibberish"
    if not facts.context.settings.run_answers:
        reason += " (the code was not run: run-answers = false)"
    if correct / total < coherence.MIN_PASSED_SHARE or gibberish:
        first = next(
            f"{prompt['id']}: {item.faults[0]}"
            for prompt, item in zip(facts.prompts, facts.judgements, strict=True)
            if item.gibberish or not item.correct
        )
        remedy = "see the answers; check template, tokenizer and weights (AC4.4, AC4.5)"
        return Outcome(Status.FAIL, f"{reason}; {first}", None, measurements, remedy)
    if facts.context.profile.sign_off and state.kind != "valid":
        waiting = f"{reason}; a person has to read them (sign-off: {state.describe()})"
        return Outcome(Status.BLOCKED, waiting, None, measurements)
    return Outcome(Status.PASS, f"{reason}; sign-off: {state.describe()}", None, measurements)


def ac5_5(facts: InferenceFacts) -> Outcome:
    """Report the median times of the answers; the warm-up stands apart."""
    generation = facts.answered()
    done = generation.answers
    decode = tuple(a.decode_tokens_per_s for a in done if a.decode_tokens_per_s is not None)
    if len(decode) < MIN_SAMPLES:
        return Outcome(
            Status.ERROR, f"{len(decode)} decode speeds, at least {MIN_SAMPLES} are needed"
        )
    first = tuple(answer.first_token_s for answer in done)
    total = tuple(answer.total_s for answer in done)
    prefill = tuple(answer.prompt_tokens_per_s for answer in done)
    tokens = sum(len(answer.token_ids) for answer in done)
    measurements = [
        Measurement("decode_tokens_per_s", statistics.median(decode), "tokens/s", None, decode),
        Measurement("prompt_tokens_per_s", statistics.median(prefill), "tokens/s", None, prefill),
        Measurement("first_token_s", statistics.median(first), "s", None, first),
        Measurement("answer_s", statistics.median(total), "s", None, total),
        Measurement("generated_tokens", tokens, "tokens"),
    ]
    if generation.warm_up is not None:
        measurements.append(Measurement("warm_up_s", generation.warm_up.total_s, "s"))
    return Outcome(
        Status.PASS,
        f"median over {len(done)} prompts: "
        f"{format_number(statistics.median(decode))} tokens/s decode, "
        f"{format_number(statistics.median(prefill))} tokens/s prefill, first token after "
        f"{format_seconds(statistics.median(first))}",
        measurements=tuple(measurements),
    )


def ac5_6(facts: InferenceFacts) -> Outcome:
    """Compare the stored answers and their document with those of this run."""
    facts.answered()
    if isinstance(facts.stored, PreflightError):
        raise facts.stored
    if facts.stored.get("digest") != facts.digest:
        return Outcome(Status.FAIL, "the stored answers are not those of this run")
    written = generated_docs.judge(facts.document, facts.subject.fingerprint)
    if written.status is not Status.PASS:
        return written
    state = facts.context.state
    where = Workspace(state).answers.relative_to(state.parent)
    return Outcome(
        Status.PASS,
        f"{len(facts.stored['judged']['answers'])} prompts and answers are in "
        f"{where.as_posix()}; {written.reason}",
        measurements=(Measurement("answers_digest", facts.digest, "sha256"),),
    )


def ac5_7(facts: InferenceFacts) -> Outcome:
    """Compare the tokens with those of a second process with the same seed."""
    first, repeat = facts.answered(), facts.repeat
    if isinstance(repeat, PreflightError):
        return error_outcome(repeat)
    if repeat is None or len(repeat.answers) < MIN_REPEATED:
        return Outcome(Status.ERROR, "fewer than two prompts were asked again")
    pairs = zip(first.answers, repeat.answers, strict=False)
    differing = [one.id for one, two in pairs if one.token_ids != two.token_ids]
    count = len(repeat.answers)
    return Outcome(
        Status.FAIL if differing else Status.PASS,
        f"{count - len(differing)} of {count} answers are identical in a second process with "
        f"seed {first.seed}" + (f"; different: {', '.join(differing)}" if differing else ""),
        measurements=(Measurement("repeated_answers", count, "count", f">= {MIN_REPEATED}"),),
    )


CHECKS: dict[str, Callable[[InferenceFacts], Outcome]] = {
    register.AC5_1: lambda facts: script.exists(facts.script),
    register.AC5_2: ac5_2,
    register.AC5_3: ac5_3,
    register.AC5_4: ac5_4,
    register.AC5_5: ac5_5,
    register.AC5_6: ac5_6,
    register.AC5_7: ac5_7,
}

confirm = partial(script.confirm, name=SCRIPT, check=register.AC5_2, says=("Response generated",))
