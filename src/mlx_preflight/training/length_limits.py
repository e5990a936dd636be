"""Row limits to choose from, by the lengths of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.units import format_percent
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import row_lengths, rows
from mlx_preflight.training.row_lengths import Cut
from mlx_preflight.training.rows import Split
from mlx_preflight.training.training_run import read_run

PERCENTILES = (100.0, 99.9, 99.5, 99.0, 98.0, 95.0, 90.0, 80.0, 70.0, 60.0, 50.0, 25.0)
"""Shares of rows that a limit may leave whole, from the one that cuts nothing."""

PAD = 32
"""Rows are padded to one more than a multiple of this (mlx_lm/tuner/trainer.py 0.32)."""


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """Training rows, as a choice of what `max_seq_length` cuts of them."""

    train: Split

    def limits(self, longest: int) -> Sequence[int]:
        """Return row limits to choose from, highest first; each is a width that batches can have.

        Args:
            longest: The limit that was asked for.
        """
        ordered = sorted(self.train.tokens)
        last = len(ordered) - 1
        kept = (ordered[round(last * share / 100)] for share in PERCENTILES)
        widths = {min(longest, 1 + PAD * -(-length // PAD)) for length in kept}
        return sorted(widths, reverse=True)

    def cut(self, limit: int) -> Cut:
        """Return what a limit cuts."""
        return row_lengths.cut(self.train, limit)

    def describe(self, limit: int) -> str:
        """Return what a limit cuts, in words."""
        found = self.cut(limit)
        if not found.cut_rows:
            return f"cuts none of {found.rows:,} rows"
        share = format_percent(100 * found.token_share)
        return f"cuts {found.cut_rows:,} of {found.rows:,} rows and {share} of the tokens"


def read(model: str, data: Path) -> LengthLimits:
    """Return the training rows of a data folder, as a model's tokenizer counts them.

    Args:
        model: Folder or hub id, whose tokenizer is here.
        data: Folder with train.jsonl.

    Raises:
        BlockedError: The tokenizer is not here, or the rows do not load.
        DataError: The folder cannot be read.
    """
    asked = ("--model", model, "--data", str(data), "--train")
    context = Context.of(
        Path.cwd(), ProjectSettings(), training=TrainingRequest(asked), note=lambda _line: None
    )
    run = read_run(context)
    found = rows.read_rows(context, run, rows.tokenizer_folder(run))
    train = found.splits.get("train")
    if found.blocker or train is None or min(train.tokens, default=-1) < 0:
        why = found.blocker or "a row of train.jsonl cannot be tokenized"
        raise BlockedError(why, hint=f"`mlx-preflight data {data} --model {model}` says where")
    return LengthLimits(train)
