"""Makers of training rows: each differs from the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

WORDS = ("a", "model", "is", "judged", "before", "its", "run", "starts", "and", "every", "row")


def text(draw: np.random.Generator, least: int, most: int) -> str:
    """Return a text of a random number of words."""
    return " ".join(draw.choice(WORDS, int(draw.integers(least, most + 1))))


def chat(question: str, answer: str, **keys: Any) -> dict[str, Any]:
    """Return a row of one question and its answer."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **keys}


def chats(count: int, seed: int = 0, least: int = 2, most: int = 20) -> list[dict[str, Any]]:
    """Return different chat rows; the number in front keeps them apart."""
    draw = np.random.default_rng(seed)
    return [
        chat(f"{seed} {i} {text(draw, least, most)}", text(draw, least, most)) for i in range(count)
    ]


def lines(rows: Sequence[Any]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
