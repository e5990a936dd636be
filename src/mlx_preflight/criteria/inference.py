"""Judge AC5: the model answers, at length, sensibly, measurably and reproducibly."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mlx_preflight.criteria import answers, documented, script, sign_off
from mlx_preflight.criteria.answering import Facts, gather
from mlx_preflight.criteria.subject import failed, text
from mlx_preflight.errors import PreflightError
from mlx_preflight.model import coherence
from mlx_preflight.model.coherence import Judgement
from mlx_preflight.report import training_documents
from mlx_preflight.result import Evidence, Measurement, Outcome, Status

__all__ = ["Facts", "gather"]

SCRIPT = "inference_test.py"
MIN_TOKENS = 20
"""The plan's least length of an answer."""
MIN_SAMPLES = 3
"""Fewer prompts give no median worth the name."""
MIN_REPEATED = 2
"""One answer would not show that the seed is set anew for each prompt."""


def ac5_1(facts: Facts) -> Outcome:
    """The inference script exists."""
    return script.exists(facts.context.project, SCRIPT)


def ac5_2(facts: Facts) -> Outcome:
    """Every prompt got an answer and nothing raised."""
    if facts.failure is not None:
        return failed(facts.failure)
    generation = facts.answered()
    ended = sum(answer.finish_reason == "stop" for answer in generation.answers)
    cut = len(generation.answers) - ended
    reason = (
        f"{len(generation.answers)} of {len(facts.prompts)} prompts answered on "
        f"{generation.device}; {ended} ended with the end token, {cut} were cut at "
        f"{generation.max_tokens} tokens"
    )
    complete = len(generation.answers) == len(facts.prompts) > 0
    return Outcome(
        Status.PASS if complete else Status.FAIL,
        reason,
        measurements=(
            Measurement("answers", len(generation.answers), "count"),
            Measurement("ended_answers", ended, "count"),
            Measurement("seed", generation.seed, "count"),
            Measurement("temperature", generation.temperature, "ratio"),
        ),
    )


def ac5_3(facts: Facts) -> Outcome:
    """Every answer has at least the plan's twenty tokens."""
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


def ac5_4(facts: Facts) -> Outcome:
    """The answers do what was asked, none is gibberish, and where required a person agrees."""
    facts.answered()
    if facts.context.evidence is Evidence.SYNTHETIC:
        return Outcome(
            Status.BLOCKED,
            "random weights answer nothing that could be judged",
            remedy="qualify the real model: `nox -- --profile qwen2.5-coder-7b`",
        )
    state = sign_off.state(facts.context.state, "AC5", facts.digest)
    measurements = (*_coherence(facts.judgements), text("human_sign_off", state.describe()))
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


def _coherence(judgements: Sequence[Judgement]) -> tuple[Measurement, ...]:
    correct = tuple(float(item.correct) for item in judgements)
    rows = (
        ("correct_share", statistics.fmean(correct), "ratio", coherence.MIN_PASSED_SHARE, correct),
        _lowest("lowest_printable_share", "ratio", coherence.MIN_PRINTABLE, judgements),
        _lowest("lowest_distinct_4gram_share", "ratio", coherence.MIN_DISTINCT_4GRAMS, judgements),
        _lowest("lowest_mean_logprob", "nats", coherence.MIN_MEAN_LOGPROB, judgements),
    )
    return tuple(
        Measurement(name, value, unit, f">= {least}", samples)
        for name, value, unit, least, samples in rows
    )


def _lowest(
    name: str, unit: str, least: float, judgements: Sequence[Judgement]
) -> tuple[str, float, str, float, tuple[float, ...]]:
    field = {"ratio": "printable", "nats": "mean_logprob"}[unit]
    field = "distinct_4grams" if "4gram" in name else field
    samples = tuple(float(getattr(item, field)) for item in judgements)
    return name, min(samples), unit, least, samples


def ac5_5(facts: Facts) -> Outcome:
    """Times of every answer are measured, the warm-up apart."""
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
        f"median over {len(done)} prompts: {statistics.median(decode):.1f} tokens/s decode, "
        f"{statistics.median(prefill):.1f} tokens/s prefill, first token after "
        f"{statistics.median(first):.3f} s",
        measurements=tuple(measurements),
    )


def ac5_6(facts: Facts) -> Outcome:
    """Prompts and answers are in a file whose digest holds."""
    facts.answered()
    stored = answers.read(facts.context.state)
    if stored["digest"] != facts.digest:
        return Outcome(Status.FAIL, "the stored answers are not those of this run")
    written = documented.judge(
        training_documents.INFERENCE, facts.context.project, facts.subject.fingerprint
    )
    if written.status is not Status.PASS:
        return written
    return Outcome(
        Status.PASS,
        f"{len(stored['judged']['answers'])} prompts and answers are in "
        f"{facts.context.state.name}/{answers.LOCATION.as_posix()}; {written.reason}",
        measurements=(Measurement("answers_digest", facts.digest, "sha256"),),
    )


def ac5_7(facts: Facts) -> Outcome:
    """A second process with the same seed gives the same tokens."""
    first, repeat = facts.answered(), facts.repeat
    if isinstance(repeat, PreflightError):
        return failed(repeat)
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
