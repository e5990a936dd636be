"""Ways to train that are not those of mlx_lm.lora: a figure of a LoRA would say nothing of them.

Light on purpose, as the command line and the configuration's checks read it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlx_preflight.core.errors import EstimateError, UsageError

PAIRS = "an accepted and a rejected answer to every prompt in one step"
SECOND = "a second, frozen model beside the one that is trained"
GENERATED = "several completions of every prompt, generated while it trains"

METHODS: Mapping[str, str] = {
    **dict.fromkeys(("dpo", "ipo", "kto"), f"{SECOND}, and {PAIRS}"),
    **dict.fromkeys(("orpo", "cpo", "simpo"), PAIRS),
    **dict.fromkeys(("online_dpo", "xpo"), f"{SECOND}, a judge, and {GENERATED}"),
    **dict.fromkeys(("grpo", "gspo", "dapo", "dr_grpo"), f"{SECOND}, and {GENERATED}"),
    **dict.fromkeys(
        ("ppo", "rlhf", "rlhf_reinforce", "reinforce", "rloo"),
        f"{SECOND}, a reward model, and {GENERATED}",
    ),
    "dwq": "a teacher, the unquantized model, whose logits the quantized one is trained on",
}
"""Method → what it holds in memory beyond a LoRA.

Names of mlx-lm-lora 5.10 (`train_mode`), axolotl 0.19 (`rl`) and mlx_lm/quant/dwq.py (0.32).
"""

KEYS = ("train_mode", "rl", "stage", "fine_tune_type")
"""Settings of trainers that name a method: mlx-lm-lora, axolotl, LLaMA-Factory, mlx-lm."""

ALLOWED = "lora, dora, full"


def find(value: object) -> str | None:
    """Return the method that a value names, in any spelling; None for none of `METHODS`."""
    name = str(value).lower().replace("-", "_") if isinstance(value, str) else ""
    return name if name in METHODS else None


def reason(method: str) -> str:
    """Return in words why a method is not predicted."""
    return f"{method.upper()} needs {METHODS[method]}, which is not predicted"


def named(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the settings that name a method → why it is not predicted."""
    found = {name: find(settings.get(name)) for name in KEYS}
    return {name: reason(method) for name, method in found.items() if method}


def refuse(name: str, value: object) -> None:
    """Refuse a setting that names a method.

    Raises:
        EstimateError: It does; the message says what the method needs.
    """
    method = find(value)
    if method is not None:
        raise EstimateError(name, value, f"{ALLOWED}; {reason(method)}")


def refuse_command(words: Sequence[str]) -> None:
    """Refuse the command of another trainer, or an option that names a method.

    Raises:
        UsageError: Such a command; the message says what the method needs.
    """
    leading = itertools.takewhile(lambda word: word[:1] != "-" or word == "-m", words)
    program = [Path(word).name.rpartition(".")[2] for word in leading]
    flags = [f"--{key.replace('_', '-')}" for key in KEYS]
    options = [
        word.partition("=")[2] or after
        for word, after in itertools.pairwise([*words, ""])
        if word.partition("=")[0] in flags
    ]
    for word in (*program, *options):
        if method := find(word):
            raise UsageError(reason(method), hint=f"predicted are {ALLOWED} of mlx_lm.lora")
