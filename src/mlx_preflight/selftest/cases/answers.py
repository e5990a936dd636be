"""Cases of AC5: answers, their length, sense, speed, record and repetition."""

from __future__ import annotations

import dataclasses
from typing import Any

from mlx_preflight.core.errors import ChildError, ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import generated_docs, inference, script
from mlx_preflight.documents import training_documents
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register as plan
from mlx_preflight.runtime import workers
from mlx_preflight.selftest.cases.checkpoints import WEIGHTS
from mlx_preflight.selftest.cases.loading import BROKEN, ENDLESS
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import checkout, model_copy
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import (
    answered,
    changed,
    cut,
    edit_json,
    instead,
    remove,
    replaced,
    settings,
    write,
)

KIT = Kit(plan.AC5_INFERENCE, (checkout,))

SCRIPT = f"scripts/training/{inference.SCRIPT}"
PAGE = f"docs/training/{training_documents.INFERENCE.name}"
EVIDENCE = "docs/training/evidence/ac5-inference.json"
ANSWERED = (plan.AC5_3, plan.AC5_4, plan.AC5_5, plan.AC5_6, plan.AC5_7)


def _prompts(_: object) -> Any:
    return read_json(EMBEDDED_FOLDER / "prompts.json")


COPIED = (model_copy, instead(workers, "prompts_for", _prompts))
"""A copy of the embedded model that is asked the same as the original."""


def reread(sample: Sample) -> None:
    """Read script and page of the sample again; the answers are those of the base."""
    found = {
        "script": script.inspect(sample.folder, inference.SCRIPT),
        "document": generated_docs.compare(training_documents.INFERENCE, sample.folder),
    }
    sample.changes.append(lambda facts: dataclasses.replace(facts, **found))


def first_answer(**fields: Any) -> Step:
    """Return what changes fields of the first answer."""

    def change(facts: Any) -> Any:
        first, *rest = facts.generation.answers
        made = (replaced(first, "", fields), *rest)
        return replaced(facts, "generation", {"answers": made})

    return changed(change)


def other_repeat(facts: Any) -> Any:
    """Return facts in which the second process answered otherwise."""
    first, *rest = facts.repeat.answers
    other = dataclasses.replace(first, token_ids=(*first.token_ids, 0))
    return replaced(facts, "repeat", {"answers": (other, *rest)})


def gibberish(facts: Any) -> Any:
    """Return facts in which every answer is the same word over and over."""
    texts = tuple(
        dataclasses.replace(answer, text="aaaa " * 60) for answer in facts.generation.answers
    )
    generation = dataclasses.replace(facts.generation, answers=texts)
    judged = inference.judge_all(generation, facts.prompts, run=True)
    return dataclasses.replace(facts, generation=generation, judgements=judged)


DOCUMENTS: dict[str, Step] = {
    "no page of answers": remove(PAGE),
    "an edited page": write(PAGE, "# Answers\n\nAll fine.\n"),
    "no evidence": remove(EVIDENCE),
    "evidence that is no JSON": write(EVIDENCE, "{"),
    "evidence of another model": edit_json(
        EVIDENCE, lambda data: data["model"].update(fingerprint="0" * 64)
    ),
}

SCRIPTS: dict[str, Step] = {
    "no script": remove(SCRIPT),
    **{name: write(SCRIPT, text) for name, text in BROKEN.items()},
}

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("code that is not run", settings(run_answers=False), near=plan.AC5_4),
    KIT.clean("room for longer answers", settings(generate_tokens=160), near=plan.AC5_3),
    KIT.clean("a copy in a folder", *COPIED, near=plan.AC5_2),
    *(KIT.defect(plan.AC5_1, name, step, reread, shared=True) for name, step in SCRIPTS.items()),
    KIT.defect(plan.AC5_2, "weights that are cut off", *COPIED, cut(WEIGHTS, 1000), along=ANSWERED),
    KIT.defect(
        plan.AC5_2,
        "a time limit of nothing",
        settings(timeout_s=0.1),
        status=Status.ERROR,
        along=[*ANSWERED, plan.AC5_1],
    ),
    KIT.defect(
        plan.AC5_2,
        "a turn that never ends",
        *(*COPIED, *ENDLESS, settings(generate_tokens=40)),
        along=[plan.AC5_4, plan.AC5_6],
    ),
    KIT.defect(
        plan.AC5_2,
        "a worker that was killed",
        answered(generation=None, failure=ChildError("generate: killed by SIGKILL")),
        status=Status.ERROR,
        along=ANSWERED,
        answer=True,
    ),
    KIT.defect(
        plan.AC5_3, "answers of 19 tokens", settings(generate_tokens=19), along=[plan.AC5_4]
    ),
    KIT.defect(
        plan.AC5_3,
        "one short answer",
        first_answer(token_ids=lambda ids: ids[:19]),
        along=[plan.AC5_7],
        answer=True,
    ),
    KIT.defect(
        plan.AC5_4,
        "random weights",
        *(*COPIED, tensors.shuffled(WEIGHTS), settings(generate_tokens=40)),
        along=[plan.AC5_6],
    ),
    KIT.defect(plan.AC5_4, "one word over and over", changed(gibberish), answer=True),
    KIT.defect(
        plan.AC5_5,
        "two answers",
        answered("generation", answers=lambda known: known[:2]),
        status=Status.ERROR,
        along=[plan.AC5_2],
        answer=True,
    ),
    *(KIT.defect(plan.AC5_6, name, step, reread, shared=True) for name, step in DOCUMENTS.items()),
    KIT.defect(plan.AC5_6, "stored answers of another run", answered(digest="0" * 64), answer=True),
    KIT.defect(
        plan.AC5_6,
        "stored answers that are damaged",
        answered(stored=ResultError("answers.json: the digest is another")),
        status=Status.ERROR,
        answer=True,
    ),
    KIT.defect(plan.AC5_7, "another answer the second time", changed(other_repeat), answer=True),
    KIT.defect(
        plan.AC5_7,
        "a second process that died",
        answered(repeat=ChildError("generate: killed by SIGKILL")),
        status=Status.ERROR,
        answer=True,
    ),
)
