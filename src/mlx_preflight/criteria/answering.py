"""Let the model answer the prompts of AC5, judge and save the answers, and ask again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_preflight.criteria import answers, subject
from mlx_preflight.criteria.subject import Subject
from mlx_preflight.errors import PreflightError, ResultError
from mlx_preflight.model import coherence, runtime
from mlx_preflight.model.coherence import Judgement
from mlx_preflight.model.exchange import Generation
from mlx_preflight.plan import Session
from mlx_preflight.runner import Context

REPEATED = 3
"""Prompts asked again in a second process; at least two, to see the seed reset between them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what AC5 is judged by.

    Attributes:
        prompts: What was asked.
        generation: First run; None when `failure` is set.
        repeat: Second run of the first prompts, or why there is none.
        judgements: One per answer.
        digest: Of the answers as judged.
        failure: Why there are no answers.
    """

    context: Context
    subject: Subject
    prompts: Sequence[Mapping[str, Any]] = ()
    generation: Generation | None = None
    repeat: Generation | PreflightError | None = None
    judgements: tuple[Judgement, ...] = ()
    digest: str = ""
    failure: PreflightError | None = None

    @property
    def model(self) -> dict[str, Any]:
        """Return the resolved model for the result file."""
        return self.subject.describe()

    def answered(self) -> Generation:
        """Return the first run, or raise why there is none."""
        if self.failure is not None:
            raise self.failure
        if self.generation is None:
            raise ResultError("no answers were generated")
        return self.generation


def gather(session: Session, context: Context) -> Facts:
    """Answer every prompt, judge and save the answers, then ask some again."""
    found = subject.find(context)
    if found.failure is not None:
        return Facts(context, found, failure=found.failure)
    resolved, _ = found.ready
    prompts = runtime.prompts_for(resolved)
    context.note(f"{session.id}: {resolved.requested} answers {len(prompts)} prompts")
    try:
        generation = _generate(context, resolved, prompts)
    except PreflightError as error:
        return Facts(context, found, prompts, failure=error)
    judgements = judge_all(generation, prompts, run=context.settings.run_answers)
    judged = answers.canonical(found.fingerprint, generation, prompts)
    answers.save(context.state, judged, generation, judgements, found.describe())
    repeat: Generation | PreflightError
    try:
        repeat = _generate(context, resolved, prompts[:REPEATED], warm_up=False)
    except PreflightError as error:
        repeat = error
    digest = answers.digest(judged)
    return Facts(context, found, prompts, generation, repeat, judgements, digest)


def _generate(
    context: Context,
    resolved: runtime.ResolvedModel,
    prompts: Sequence[Mapping[str, Any]],
    *,
    warm_up: bool = True,
) -> Generation:
    return runtime.generate(
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
