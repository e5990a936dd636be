"""Lengths of training rows: percentiles, what a limit cuts, and which rows it leaves untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_preflight.training.rows import Split

LONGEST = 100
PERCENTILES = (50, 90, 95, 99, LONGEST)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a length limit leaves of a split.

    Attributes:
        limit: max_seq_length.
        rows: Rows.
        tokens: Tokens, uncut.
        cut_rows: Rows over the limit.
        cut_tokens: Tokens beyond it.
    """

    limit: int
    rows: int
    tokens: int
    cut_rows: int
    cut_tokens: int

    @property
    def token_share(self) -> float:
        """Return the share of tokens that are cut."""
        return self.cut_tokens / self.tokens if self.tokens else 0.0


def cut(split: Split, limit: int) -> Cut:
    """Return what a limit leaves of a split's rows."""
    lengths = known(split.tokens)
    over = [length - limit for length in lengths if length > limit]
    return Cut(limit, len(lengths), sum(lengths), len(over), sum(over))


def known(lengths: Sequence[int]) -> list[int]:
    """Return the lengths of the rows that could be tokenized."""
    return [length for length in lengths if length >= 0]


def percentiles(lengths: Sequence[int]) -> dict[int, int]:
    """Return the nearest-rank percentiles of lengths; empty without any."""
    ordered = sorted(known(lengths))
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {p: ordered[min(-(-p * len(ordered) // 100) - 1, last)] for p in PERCENTILES}


def untrained(split: Split, limit: int) -> list[int]:
    """Return the indices of rows of which no token of their own is trained.

    The trainer's mask starts at the offset, and never counts the first token
    (mlx_lm/tuner/trainer.py `default_loss`).
    """
    return [
        index
        for index, (tokens, offset) in enumerate(zip(split.tokens, split.offset, strict=True))
        if 0 <= tokens <= max(offset, 1) or (tokens >= 0 and max(offset, 1) >= limit)
    ]
