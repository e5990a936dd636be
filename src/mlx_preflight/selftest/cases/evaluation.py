"""Cases of AC1 and AC2: what is left of the evaluation and its evidence after an edit."""

from __future__ import annotations

from typing import Any

from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.bases import EVALUATION, checkout
from mlx_preflight.selftest.injection.case import ALL, Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import (
    edit,
    edit_json,
    remove,
    section,
    write,
)

AC1, AC2 = Kit(plan.AC1_EVALUATION, (checkout,)), Kit(plan.AC2_SELECTION, (checkout,))

EVIDENCE = "docs/training/evidence/framework-{}.json"
SPEED = "| Speed |…| Ease of use |"
CONS = "### Cons\n\n- One con is all there is.\n\n"

TEXT: dict[str, tuple[str, tuple[Step, ...]]] = {
    # name: (check, steps); AC1.7 sees besides that the text is not the generated one
    "no section on MLX-LM": (plan.AC1_2, (section(EVALUATION, "## MLX-LM", None),)),
    "another title": (plan.AC1_2, (edit(EVALUATION, "## MLX-LM\n", "## The first candidate\n"),)),
    "no cons of MLX-LM": (
        plan.AC1_2,
        (edit(EVALUATION, "### Cons of MLX-LM\n", "### Pros of MLX-LM, continued\n"),),
    ),
    "no pros of axolotl": (plan.AC1_3, (edit(EVALUATION, "### Pros of axolotl…### Cons of", ""),)),
    "no section on axolotl": (plan.AC1_3, (section(EVALUATION, "## axolotl", None),)),
    "one con": (plan.AC1_3, (edit(EVALUATION, "### Cons of axolotl…## Hugging", CONS),)),
    "a criterion is missing": (plan.AC1_4, (edit(EVALUATION, SPEED, ""),)),
    "a cell says nothing": (
        plan.AC1_4,
        (edit(EVALUATION, SPEED, "| Speed | - | not known yet |\n"),),
    ),
    "a cell is to be done": (
        plan.AC1_4,
        (edit(EVALUATION, SPEED, "| Speed | to be done | 7 tokens/s were measured |\n"),),
    ),
    "a cell is n/a": (
        plan.AC1_4,
        (edit(EVALUATION, SPEED, "| Speed | n/a | 7 tokens/s were measured |\n"),),
    ),
    "another framework in the head": (
        plan.AC1_4,
        (edit(EVALUATION, "| criterion | MLX-LM | axolotl |", "| criterion | MLX-LM | another |"),),
    ),
    "no matrix": (plan.AC1_4, (section(EVALUATION, "## Comparison matrix", None),)),
    "no decision": (plan.AC1_5, (section(EVALUATION, "## Decision", None),)),
    "an empty decision": (plan.AC1_5, (section(EVALUATION, "## Decision", "Later."),)),
    "two factors": (plan.AC1_6, (edit(EVALUATION, "3. **Ease of use…## Trade-offs", "\n"),)),
    "one factor": (plan.AC1_6, (edit(EVALUATION, "2. **Memory…## Trade-offs", "\n"),)),
}

FILES: dict[str, tuple[Step, ...]] = {
    "a figure of its own": (edit(EVALUATION, "0.316 GB on disk with", "0.217 GB on disk with"),),
    "evidence that is gone": (remove(EVIDENCE.format("peft")),),
    "evidence that is no JSON": (write(EVIDENCE.format("peft"), "{"),),
    "evidence of the future": (
        edit_json(EVIDENCE.format("peft"), date="2099-01-01T00:00:00+00:00"),
    ),
    "evidence of another machine": (
        edit_json(EVIDENCE.format("peft"), lambda data: data["machine"].update(memory_bytes=1)),
    ),
    "evidence of another version": (
        edit_json(
            EVIDENCE.format("axolotl"),
            lambda data: data["install"]["packages"].update(axolotl="0.18.0"),
        ),
    ),
    "evidence without a figure": (
        edit_json(EVIDENCE.format("mlx-lm"), lambda data: data.pop("probe")),
    ),
    "evidence about another framework": (edit_json(EVIDENCE.format("peft"), framework="axolotl"),),
    "a source without a date": (write("docs/training/evidence/cited.json", '{"facts": [{}]}'),),
}
"""What only AC1.7 sees."""

UNREADABLE: dict[str, tuple[Step, ...]] = {
    "no report": (remove(EVALUATION),),
    "an empty report": (write(EVALUATION, ""),),
    "a report that is no text": (write(EVALUATION, b"\xff" * 400),),
}

SECTIONS: dict[str, tuple[str, Step]] = {
    "no decision": (plan.AC2_1, section(EVALUATION, "## Decision", None)),
    "an empty decision": (plan.AC2_1, section(EVALUATION, "## Decision", "Later.")),
    "another one is selected": (
        plan.AC2_1,
        section(EVALUATION, "## Decision", "axolotl is selected for this job."),
    ),
    "a factor is missing": (plan.AC2_2, edit(EVALUATION, "2. **Memory…3. **Ease", "")),
    "a factor without a reason": (
        plan.AC2_2,
        edit(
            EVALUATION,
            "1. **M1 Max…2. **Memory",
            "1. Metal memory M1 Max unified ease setup Metal GPU\n",
        ),
    ),
    "a trade-off is missing": (
        plan.AC2_3,
        edit(EVALUATION, "- **Newer framework.**…- **Adapters", ""),
    ),
    "trade-offs of three words": (
        plan.AC2_3,
        section(EVALUATION, "## Trade-offs", "Ecosystem, Apple and new."),
    ),
    "no trade-offs": (plan.AC2_3, section(EVALUATION, "## Trade-offs", None)),
    "no steps of the fallback": (
        plan.AC2_4,
        edit(EVALUATION, "The steps, in this order:…## Measurements", ""),
    ),
    "a fallback of one word": (plan.AC2_4, section(EVALUATION, "## Fallback plan", "axolotl")),
    "no fallback": (plan.AC2_4, section(EVALUATION, "## Fallback plan", None)),
}

WORDINGS = (
    "The team chose MLX-LM",
    "The selected framework is MLX-LM",
    "We will use MLX-LM",
    "MLX-LM was chosen, though it does not offer GRPO,",
)
"""Decisions that say the same as the shipped one."""


def worded(text: str) -> Step:
    """Return what states the decision in other words."""
    return edit(EVALUATION, "MLX-LM is selected as", f"{text} as")


def evidence_cases() -> tuple[Case, ...]:
    """Return the cases of AC1.7 alone."""
    return tuple(AC1.defect(plan.AC1_7, name, *steps) for name, steps in FILES.items())


def _along(check: str) -> dict[str, Any]:
    # Without a decision there is no selection to compare with the scores.
    return {"along": [plan.AC2_5] if check == plan.AC2_1 else []}


def _doubled(sample: Sample) -> None:
    path = sample.folder / EVALUATION
    path.write_text(path.read_text(encoding="utf-8") * 2, encoding="utf-8")


CASES: tuple[Case, ...] = (
    AC1.clean("as it is"),
    AC1.clean("a page beside it", write("docs/training/notes.md", "# Notes\n"), near=plan.AC1_7),
    *(AC1.defect(check, name, *steps, along=[plan.AC1_7]) for name, (check, steps) in TEXT.items()),
    AC1.defect(
        plan.AC1_5,
        "no rationale",
        section(EVALUATION, "## Rationale", None),
        along=[plan.AC1_6, plan.AC1_7],
    ),
    *evidence_cases(),
    *(AC1.defect(plan.AC1_1, name, *steps, along=[ALL]) for name, steps in UNREADABLE.items()),
    AC1.defect(
        plan.AC1_1,
        "a report that repeats itself",
        _doubled,
        along=[ALL],
    ),
    AC2.clean("as it is"),
    *(AC2.clean(f"decision: {words}", worded(words), near=plan.AC2_1) for words in WORDINGS),
    AC2.clean(
        "a weight that changes nothing",
        edit("pyproject.toml", "memory = 1\n", "memory = 2\n"),
        near=plan.AC2_5,
    ),
    *(AC2.defect(check, name, step, **_along(check)) for name, (check, step) in SECTIONS.items()),
    AC2.defect(
        plan.AC2_5,
        "weights that select another one",
        edit("pyproject.toml", "speed = 1\n", "speed = 50\n"),
        along={plan.AC2_1},
    ),
    AC2.defect(
        plan.AC2_5,
        "scores without evidence",
        remove(EVIDENCE.format("peft")),
        along={plan.AC2_1},
    ),
)
