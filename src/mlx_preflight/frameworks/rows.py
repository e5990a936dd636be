"""The rows that every framework trains on: seeded chats of one exact length.

Rows that all have `max_seq_length` tokens need no padding and no cutting, so frameworks
that pad or cut differently still see the same tokens.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

ROW_TOKENS = 128

TEMPLATE_TOKENS = 10
"""Tokens that the embedded checkpoint's chat template puts around two messages."""

QUESTION = ("Write", "a", "function", "that", "returns", "the")
"""Beginning of every question; each word is one token of the embedded tokenizer."""

WORDS = (
    *("sum", "average", "product", "largest", "smaller", "first", "last", "second", "list"),
    *("string", "number", "numbers", "digits", "words", "value", "values", "keys"),
    *("length", "prime", "even", "odd", "sorted", "reverse", "count"),
)
"""Words that are one token each when a space comes before them (the tests hold it)."""


def generate(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return chats of exactly `ROW_TOKENS` tokens in the order of training."""
    source = random.Random(seed)  # noqa: S311  (not a secret)
    rows = []
    for _ in range(count):
        topic = [source.choice(WORDS) for _ in range(6)]
        question = [*QUESTION, *topic]
        phrase = [source.choice(WORDS) for _ in range(8)]
        left = ROW_TOKENS - TEMPLATE_TOKENS - len(question) - 1
        answer = ["def", *(phrase * (left // len(phrase) + 1))[:left]]
        messages = [
            {"role": "user", "content": " ".join(question)},
            {"role": "assistant", "content": " ".join(answer)},
        ]
        rows.append({"messages": messages})
    return rows


def jsonl(rows: list[dict[str, Any]]) -> str:
    """Return the rows as the text of a JSONL file."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def digest(rows: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of the rows in order."""
    return hashlib.sha256(jsonl(rows).encode()).hexdigest()
