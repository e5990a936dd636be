"""Cases of run4-data: rows that end the trainer, or teach something else."""

from __future__ import annotations

from typing import Any

from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.bases import data, model_copy
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.row_faults import (
    FAULTS,
    TEMPLATE,
    TOOLS_TEMPLATE,
    Fault,
    called,
    turns,
)
from mlx_preflight.selftest.injection.steps import arguments, edit_json
from mlx_preflight.selftest.injection.training_rows import chat, chats, lines

NOTES = [chat(f"q {i}", f"a {i}", id=i, source="here") for i in range(8)]
PAIRS = [{"prompt": f"p {i}", "completion": f"c {i}"} for i in range(8)]

CLEAN: dict[str, tuple[dict[str, Any], tuple[str, ...], str | None]] = {
    "chat": ({"train": chats(12)}, (), TEMPLATE),
    "chat with a mask": ({"train": chats(12)}, ("--mask-prompt",), TEMPLATE),
    "pairs": ({"train": PAIRS}, (), TEMPLATE),
    "pairs with a mask": ({"train": PAIRS}, ("--mask-prompt",), TEMPLATE),
    "text for a base model": (
        {name: [{"text": f"{name} {i}"} for i in range(9)] for name in ("train", "valid")},
        (),
        None,
    ),
    "U+2028 within a text": (
        {"train": "".join(f'{{"text": "{i}\u2028b\x85c"}}\n' for i in range(8))},
        (),
        TEMPLATE,
    ),
    "letters of many scripts": (
        {"train": [chat(f"é {i} 漢字 🙂", "Ω") for i in range(8)]},
        (),
        TEMPLATE,
    ),
    "notes beside the messages": ({"train": NOTES}, (), TEMPLATE),
    "tool calls with objects": (
        {"train": [called({"a": i}) for i in range(8)]},
        ("--mask-prompt",),
        TOOLS_TEMPLATE,
    ),
    "many turns without a mask": (
        {"train": [turns("system", *["user", "assistant"] * n) for n in range(1, 9)]},
        (),
        TEMPLATE,
    ),
    "Windows line ends, none at the end": (
        {"train": lines(chats(8)).strip().replace("\n", "\r\n")},
        (),
        TEMPLATE,
    ),
    "a test that is asked for": ({"train": chats(8), "test": chats(8, 5)}, ("--test",), TEMPLATE),
    "equal answers to different questions": (
        {"train": [chat(f"q {i}", "yes") for i in range(8)]},
        ("--mask-prompt",),
        TEMPLATE,
    ),
    "one long row among many": (
        {"train": [*chats(200, most=9), chat("a", "word " * 40)]},
        ("--max-seq-length", "128"),
        TEMPLATE,
    ),
}
"""Name → files, arguments and template of data in which nothing is wrong."""

KIT = Kit(plan.RUN4_DATA, ())


def steps(fault: Fault) -> tuple[Step, ...]:
    """Return what plants a fault of the rows, or of what renders them."""
    files = {"valid": chats(5, 9), **fault.files}
    planted = [data(split, content) for split, content in files.items()]
    own = fault.template != TEMPLATE or fault.tokenizer
    model = str(EMBEDDED_FOLDER)
    if own:
        model = "model"
        planted += [model_copy, template(fault.template), edit_json(CONFIG, **fault.config)]
        planted.append(edit_json(TOKENIZER, **fault.tokenizer))
    words = ("--model", model, "--data", "data", "--train", "--iters", "16", "--num-layers", "1")
    return (*planted, arguments(*words, *fault.arguments))


CONFIG, TOKENIZER = "model/config.json", "model/tokenizer_config.json"


def template(text: str | None) -> Step:
    """Return what gives the copied model another chat template, or none."""

    def change(stored: dict[str, Any]) -> None:
        stored.pop("chat_template", None)
        if text is not None:
            stored["chat_template"] = text

    return edit_json(TOKENIZER, change)


def clean(files: dict[str, Any], words: tuple[str, ...], text: str | None) -> tuple[Step, ...]:
    """Return what writes rows in which nothing is wrong."""
    return steps(Fault(files, "", arguments=words, template=text))


def shared(sample: Sample) -> None:
    """Start the run as two processes on this machine, which share each batch."""
    sample.launch = ("mlx.launch", "-n", "2", "mlx_lm.lora", *(sample.training or ()))


CASES: tuple[Case, ...] = (
    KIT.clean(
        "two processes", *clean({"train": chats(12)}, (), TEMPLATE), shared, near=plan.RUN4_12
    ),
    KIT.defect(
        plan.RUN4_12,
        "a batch that two processes cannot share",
        *clean({"train": chats(12)}, ("--batch-size", "3"), TEMPLATE),
        shared,
        blocks=True,
    ),
    *(KIT.clean(name, *clean(*made)) for name, made in CLEAN.items()),
    *(KIT.defect(fault.check, name, *steps(fault), blocks=True) for name, fault in FAULTS.items()),
)
