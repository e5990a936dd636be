"""The order of training rows in which batches hold the least padding.

mlx-lm makes batches of neighbours in the file (rows with more keys last), so that the order of
the file decides the padding. Another order makes other batches: it changes the training.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import DataError
from mlx_preflight.training import batches
from mlx_preflight.training.rows import Rows, Split
from mlx_preflight.training.training_run import TrainingRun


@dataclass(frozen=True, slots=True)
class Gain:
    """What another order saves.

    Attributes:
        before: Share of padding today.
        after: Share of padding in the new order.
        saved: Share of all positions that are computed no more.
    """

    before: float
    after: float
    saved: float


def by_length(split: Split) -> list[int]:
    """Return the order with the least padding: by keys, as mlx-lm sorts, then by length."""
    return sorted(range(len(split)), key=lambda index: (split.keys[index], split.tokens[index]))


def write(run: TrainingRun, rows: Rows, target: Path) -> Gain:
    """Write the rows of the training in that order, the other files as they are.

    Args:
        run: Settings of the run.
        rows: Its rows.
        target: Folder to make; one that holds a train.jsonl is refused.

    Raises:
        DataError: There are no training rows, or the folder cannot be written.
        BlockedError: The data do not load.
    """
    before = batches.of_run(run, rows)
    train = rows.splits.get("train")
    if train is None or before.failure is not None:
        raise DataError("the rows cannot be sorted: the run would not end", hint="see the checks")
    order = by_length(train)
    changed = {**rows.splits, "train": _ordered(train, order)}
    after = batches.of_run(run, dataclasses.replace(rows, splits=changed))
    _write(rows, train, order, target)
    return Gain(before.padding, after.padding, 1 - after.padded / before.padded)


def _ordered(split: Split, order: list[int]) -> Split:
    def moved(column: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(column[index] for index in order)

    return dataclasses.replace(
        split,
        line=moved(split.line),
        keys=moved(split.keys),
        tokens=moved(split.tokens),
        offset=moved(split.offset),
        digest=moved(split.digest),
        kept=moved(split.kept),
    )


def _write(rows: Rows, train: Split, order: list[int], target: Path) -> None:
    if (target / "train.jsonl").exists():
        raise DataError(f"{target}: it holds a train.jsonl already", hint="name another folder")
    try:
        lines = train.path.read_bytes().splitlines()
        target.mkdir(parents=True, exist_ok=True)
        with (target / "train.jsonl").open("xb") as stream:
            for index in order:
                stream.write(lines[train.line[index] - 1] + b"\n")
        for name in rows.splits:
            if name != "train":
                shutil.copyfile(rows.path(name), target / f"{name}.jsonl")
    except (OSError, IndexError) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error
