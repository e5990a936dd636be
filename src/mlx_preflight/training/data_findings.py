"""What a person reads about a place in the data: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlx_preflight.core.diagnostic import KEPT, Diagnostic
from mlx_preflight.core.text import join_findings, one_line
from mlx_preflight.training.rows import Place, Rows

TOOL = "mlx-preflight"

NAMED = 3
"""Places that a reason names; the diagnostics hold the others."""

WORDS: dict[str, tuple[str, str]] = {
    # RUN4.1
    "encoding": ("no UTF-8", "save the file as UTF-8"),
    "locale": (
        "letters that this locale reads wrongly",
        "start the training with PYTHONUTF8=1: mlx-lm opens the files with the locale's encoding",
    ),
    "bom": ("a byte order mark", "save the file as UTF-8 without BOM"),
    "blank": ("a blank line", "remove it: every line must be one JSON object"),
    "json": ("no JSON", "write every row as one JSON object on one line"),
    "multi-line": ("JSON over several lines", "write one row per line: `jq -c .[] FILE`"),
    "changed": ("it changed while it was read", "wait until it is written"),
    # RUN4.2
    "format": (
        "no row of the format of the first one",
        "the first row decides for the whole file: give every row its keys",
    ),
    # RUN4.4
    "tokenizer": ("the tokenizer does not load", "see run3-model"),
    "tokenizer-code": (
        "the tokenizer needs code from the model's folder",
        "that code is never run here: use a model whose tokenizer is plain",
    ),
    "no-template": (
        "a chat row, and the model has no chat template",
        "train the instruct model, or write the rows as `text`",
    ),
    "render": ("the chat template refuses the row", "give its roles the order that it expects"),
    "message": ("a message without a role", "give every message `role` and `content`"),
    "slow": ("it takes too long to render", "look at the row and at the chat template"),
    "memory": ("it takes too much memory to render", "look at the row and at the chat template"),
    # RUN4.5 and RUN4.6
    "cut": ("cut at the length limit", "raise max_seq_length, or split the row"),
    "untrained": (
        "its prompt fills the row or reaches the length limit, so nothing of it is trained",
        "raise max_seq_length, shorten the prompt, or remove the row",
    ),
    # RUN4.7
    "mask-text": (
        "`mask_prompt` with rows of `text`",
        "train without --mask-prompt, or write the rows as `prompt` and `completion`",
    ),
    "no-prefix": (
        "the prompt is rendered otherwise alone than in its row, so the mask is shifted",
        "train without --mask-prompt, or let the chat template start a row with its prompt",
    ),
    "prompt-longer": (
        "the prompt alone is as long as its row, so nothing of it is trained",
        "train without --mask-prompt, or change the chat template",
    ),
    "last-role": (
        "the last message is no answer, and it is what is trained",
        "end every row with a message of the assistant",
    ),
    "answers": (
        "several answers, of which the mask leaves the last one",
        "write one row per answer, or train without --mask-prompt",
    ),
    # RUN4.8
    "ignored": ("a key that is never read", "move it into the messages, or remove it"),
    # RUN4.9
    "twice": ("the same row as in another line", "keep one of them"),
    "overlap": ("a row of the training", "take it out of one of the two files"),
    "same-kept": (
        "the same tokens as another row, within the length limit",
        "keep one of them, or raise max_seq_length",
    ),
    # RUN4.10
    "arguments-twice": (
        "tool arguments that are text, which the template encodes once more",
        "write `arguments` as an object, not as a string",
    ),
    "arguments-raise": (
        "tool arguments that are text, which the template refuses",
        "write `arguments` as an object, not as a string",
    ),
    # RUN4.11
    "no-end": (
        "no end of turn that the model knows",
        "use the chat template of the instruct model: without an end the model talks on",
    ),
}
"""Kind of a place → what is there, and what to do about it."""


def message(place: Place) -> str:
    """Return what is wrong at a place; its detail is a key, a role or an exception's name."""
    words = WORDS[place.kind][0]
    return f"{words} ({one_line(place.detail, 80)})" if place.detail else words


def where(place: Place) -> str:
    """Return file and line of a place, as a person writes it."""
    name = f"{place.split}.jsonl" if place.split else "the model"
    return f"{name}, line {place.line}" if place.line else name


def remedy(places: Sequence[Place]) -> str:
    """Return what to do about places, each kind once."""
    return "; ".join(dict.fromkeys(WORDS[place.kind][1] for place in places))


def reason(places: Sequence[Place], total: int) -> str:
    """Return the first places in one line, and how many there are."""
    named = [f"{where(place)}: {message(place)}" for place in places[:NAMED]]
    more = f"; and {total - NAMED:,} more" if total > NAMED else ""
    return join_findings(named) + more


def diagnostics(
    places: Sequence[Place], rows: Rows, code: str, project: Path
) -> tuple[Diagnostic, ...]:
    """Return places for programs; paths are relative to the project where they are in it."""
    return tuple(
        Diagnostic(
            tool=TOOL,
            code=f"{code}:{place.kind}",
            message=message(place),
            path=_relative(rows.path(place.split), project) if place.split else "",
            line=place.line if place.split else 0,
        )
        for place in places[:KEPT]
    )


def _relative(path: Path, project: Path) -> str:
    try:
        return path.resolve().relative_to(project.resolve()).as_posix()
    except ValueError:
        return path.as_posix()
