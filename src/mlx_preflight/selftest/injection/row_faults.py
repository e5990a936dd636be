"""Data that cannot be trained on, or teach something else: one fault each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight.models import catalog
from mlx_preflight.plan import register
from mlx_preflight.selftest.injection.training_rows import chat, chats, lines

TEMPLATE = json.loads((catalog.EMBEDDED_FOLDER / "tokenizer_config.json").read_text("utf-8"))[
    "chat_template"
]

TOOLS_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments | tojson }}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)

ITEMS_TEMPLATE = TOOLS_TEMPLATE.replace(
    "{{ c.function.arguments | tojson }}",
    "{% for k, v in c.function.arguments.items() %}{{ k }}{{ v }}{% endfor %}",
)

THOUGHT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\nno thought at all\n{% endif %}"
)

MODEL_TURN = "<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what must be said of it.

    Attributes:
        files: Split → rows, text or bytes; valid is good unless it is named.
        check: The one check that fails.
        split: File that is named; empty where the model or a number of rows is to blame.
        line: Line that is named; 0 where it is the file.
        says: Part of the reason.
        arguments: Of mlx_lm.lora.
        template: Chat template; the embedded model's own unless named.
        tokenizer: Other keys of tokenizer_config.json.
        config: Other keys of config.json.
        raises: Exception of mlx-lm, or `nan`; empty where the run ends well.
    """

    files: Mapping[str, Any]
    check: str
    split: str = ""
    line: int = 0
    says: str = ""
    arguments: tuple[str, ...] = ()
    template: str | None = TEMPLATE
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    raises: str = ""


def called(arguments: Any) -> dict[str, Any]:
    """Return a row with a tool call."""
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    turns = [
        {"role": "user", "content": "what?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    return {"messages": turns}


GOOD = chats(12)
LONG = [chat(f"{i} " + "word " * 60, "yes") for i in range(12)]
MASK = ("--mask-prompt",)
ONE = ("--batch-size", "1")


def with_row(row: Any, line: int) -> list[Any]:
    """Return good rows with another one in a line."""
    return [*GOOD[: line - 1], row, *GOOD[line:]]


def turns(*roles: str) -> dict[str, Any]:
    """Return a row of messages of these roles."""
    return {"messages": [{"role": r, "content": f"{r} {i}"} for i, r in enumerate(roles)]}


FAULTS: dict[str, Fault] = {
    "blank line": Fault(
        {"train": lines(GOOD[:3]) + "\n" + lines(GOOD[3:])},
        *(register.RUN4_1, "train", 4, "blank line"),
        raises="JSONDecodeError",
    ),
    "byte order mark": Fault(
        {"train": b"\xef\xbb\xbf" + lines(GOOD).encode()},
        *(register.RUN4_1, "train", 1, "byte order mark"),
        raises="JSONDecodeError",
    ),
    "JSON over several lines": Fault(
        {"train": json.dumps(GOOD, indent=1)},
        *(register.RUN4_1, "train", 1, "several lines"),
        raises="JSONDecodeError",
    ),
    "a comma too many": Fault(
        {"train": lines(GOOD[:5]) + '{"messages": [],}\n' + lines(GOOD[5:])},
        *(register.RUN4_1, "train", 6, "no JSON"),
        raises="JSONDecodeError",
    ),
    "not UTF-8": Fault(
        {"train": lines(GOOD[:4]).encode() + '{"text": "é"}\n'.encode("latin-1")},
        *(register.RUN4_1, "train", 5, "no UTF-8"),
        raises="UnicodeDecodeError",
    ),
    "another format in the middle": Fault(
        {"train": with_row({"text": "a b"}, 7)},
        *(register.RUN4_2, "train", 7, "no row of the format"),
        arguments=ONE,
        raises="KeyError",
    ),
    "no known format": Fault(
        {"train": [{"words": f"{i}"} for i in range(8)]},
        *(register.RUN4_2, "train", 1),
        raises="ValueError",
    ),
    "a row that is no object": Fault(
        {"train": with_row(["a"], 3)}, register.RUN4_2, "train", 3, raises="TypeError"
    ),
    "an unknown format of the test": Fault(
        {"train": GOOD, "test": [{"words": "a"}]},
        *(register.RUN4_2, "test", 1),
        raises="ValueError",
    ),
    "an empty valid.jsonl": Fault(
        {"train": GOOD, "valid": ""}, register.RUN4_3, says="valid.jsonl", raises="IndexError"
    ),
    "no train.jsonl": Fault({}, register.RUN4_3, says="train.jsonl", raises="ValueError"),
    "fewer rows than a batch": Fault(
        {"train": GOOD[:3]}, register.RUN4_3, says="train.jsonl has 3", raises="ValueError"
    ),
    "fewer validation rows than a batch": Fault(
        {"train": GOOD, "valid": chats(3, 9)},
        register.RUN4_3,
        says="valid.jsonl has 3 rows for batches of 4: a ValueError at iteration 1",
        raises="ValueError",
    ),
    "fewer test rows than a batch": Fault(
        {"train": GOOD, "test": chats(2, 8)},
        register.RUN4_3,
        says="test.jsonl has 2",
        arguments=("--test",),
        raises="ValueError",
    ),
    "no chat template": Fault(
        {"train": GOOD},
        *(register.RUN4_4, "train", 1, "no chat template"),
        template=None,
        raises="ValueError",
    ),
    "roles that the template refuses": Fault(
        {"train": with_row(turns("user", "user", "assistant"), 5)},
        *(register.RUN4_4, "train", 5, "roles must alternate"),
        template="{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + TEMPLATE,
        raises="TemplateError",
    ),
    "a message without content": Fault(
        {"train": with_row({"messages": [{"role": "user", "content": None}]}, 2)},
        *(register.RUN4_4, "train", 2, "UndefinedError"),
        raises="UndefinedError",
    ),
    "a tokenizer with code": Fault(
        {"train": GOOD},
        register.RUN4_4,
        says="needs code",
        tokenizer={
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]},
        },
        config={"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}},
    ),
    "a chat template of an unknown type": Fault(
        {"train": GOOD},
        register.RUN4_4,
        says="does not load (ModuleNotFoundError)",
        tokenizer={"chat_template_type": "own"},
        raises="ModuleNotFoundError",
    ),
    "a batch without a trained token": Fault(
        {"train": [*chats(59, most=4), chat("word " * 60, "yes")]},
        *(register.RUN4_5, "train", 60, "NaN"),
        arguments=(*MASK, *ONE, "--max-seq-length", "64", "--iters", "60"),
        raises="nan",
    ),
    "a limit that cuts most": Fault(
        {"train": LONG, "valid": chats(5, 9)},
        *(register.RUN4_6, "train", 1),
        arguments=("--max-seq-length", "64"),
    ),
    "an answer that is cut": Fault(
        {"train": [*chats(59, most=4), chat("word " * 60, "yes")]},
        *(register.RUN4_6, "train", 60, "reaches the length limit"),
        arguments=(*MASK, "--max-seq-length", "64"),
    ),
    "a mask for text": Fault(
        {"train": [{"text": f"{i} a"} for i in range(8)]},
        *(register.RUN4_7, "train", 1, "mask_prompt"),
        arguments=MASK,
        raises="ValueError",
    ),
    "a prompt that is no prefix": Fault(
        {"train": [chat(f"{i}", "word " * 20) for i in range(8)]},
        *(register.RUN4_7, "train", 1, "otherwise alone"),
        arguments=MASK,
        template=THOUGHT_TEMPLATE,
    ),
    "a last turn of the user": Fault(
        {"train": with_row(turns("user", "assistant", "user"), 9)},
        *(register.RUN4_7, "train", 9, "no answer"),
        arguments=MASK,
    ),
    "several answers": Fault(
        {"train": with_row(turns("user", "assistant", "user", "assistant"), 8)},
        *(register.RUN4_7, "train", 8, "leaves the last one"),
        arguments=MASK,
    ),
    "a system prompt that is not read": Fault(
        {"train": with_row(chat("a", "b", system="be brief"), 4)},
        *(register.RUN4_8, "train", 4, "system"),
    ),
    "a row twice": Fault(
        {"train": [*GOOD, GOOD[1]]}, register.RUN4_9, "train", 13, "same row as in another line"
    ),
    "a training row in valid.jsonl": Fault(
        {"train": GOOD, "valid": [*chats(5, 9), GOOD[3]]},
        *(register.RUN4_9, "valid", 6, "line 4"),
    ),
    "rows that differ in no token": Fault(
        {"train": [*GOOD, {**GOOD[2], "id": 7}]}, register.RUN4_9, "train", 13, "same tokens"
    ),
    "tool arguments that are encoded twice": Fault(
        {"train": with_row(called('{"a": 1}'), 6)},
        *(register.RUN4_10, "train", 6, "encodes once more"),
        template=TOOLS_TEMPLATE,
    ),
    "tool arguments that are refused": Fault(
        {"train": with_row(called('{"a": 1}'), 6)},
        *(register.RUN4_10, "train", 6, "refuses"),
        template=ITEMS_TEMPLATE,
        raises="UndefinedError",
    ),
    "no end of turn": Fault(
        {"train": GOOD},
        *(register.RUN4_11, "train", 1, "no end of turn"),
        template="{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}",
    ),
}
"""Name → fault."""
