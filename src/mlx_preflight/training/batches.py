"""The batches of a training run: widths, padding, and the iterations whose loss is NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_preflight.core.errors import BlockedError, DataError
from mlx_preflight.training.rows import Rows
from mlx_preflight.training.training_run import TrainingRun

if TYPE_CHECKING:
    from mlx_preflight.runtime.batches import Batch, ProcessBatches

MAX_ITERATIONS = 1_000_000
"""Iterations that are replayed; that many take about a minute."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Exception that the trainer raises.

    Attributes:
        iteration: Iteration in which it does, from 1.
        split: Split whose rows are asked for.
        line: Line of the row; 0 where no row is to blame.
        reason: In words.
    """

    iteration: int
    split: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Validation:
    """A validation.

    Attributes:
        iteration: Iteration before whose step it happens.
        widths: Width of each of its batches.
        untrained: How many of its batches have no target; one makes the loss NaN.
    """

    iteration: int
    widths: tuple[int, ...]
    untrained: int


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of a run. Where ranks share a batch, a width is that of the widest rank.

    Attributes:
        widths: Tokens per row, padded, of every iteration.
        rows: Rows of a batch in one process.
        validations: Every validation, in order.
        test: Widths of the test after the training.
        tokens: Tokens of all training batches, cut and not padded, all ranks.
        padded: The same with the padding.
        trained: Targets that the loss counts, all ranks.
        nan_iterations: Iterations in which a rank has no target: their loss is 0/0.
        unused: Lines of training rows that no batch holds.
        leftover: Rows of an epoch that the last, incomplete batch leaves out.
        failure: What ends the run early; None where it ends well.
    """

    widths: tuple[int, ...]
    rows: int
    validations: tuple[Validation, ...]
    test: tuple[int, ...]
    tokens: int
    padded: int
    trained: int
    nan_iterations: tuple[int, ...]
    unused: tuple[int, ...]
    leftover: int
    failure: Failure | None

    @property
    def padding(self) -> float:
        """Return the share of all positions that is padding."""
        return 1 - self.tokens / self.padded if self.padded else 0.0

    @property
    def widest(self) -> tuple[int, int]:
        """Return the width of the widest training batch, and its first iteration; (0, 0)."""
        top = max(self.widths, default=0)
        return top, self.widths.index(top) + 1 if top else 0

    @property
    def widest_validation(self) -> tuple[int, int]:
        """Return the width of the widest validation batch, and its first iteration; (0, 0)."""
        tops = [(max(item.widths), -item.iteration) for item in self.validations if item.widths]
        width, iteration = max(tops, default=(0, 0))
        return width, -iteration


def of_run(run: TrainingRun, rows: Rows) -> Batches:
    """Replay the batches of a run.

    Args:
        run: Its settings.
        rows: Its rows, tokenized.

    Raises:
        BlockedError: The data do not load.
        DataError: A setting is no number, or there are too many iterations.
    """
    from mlx_preflight.runtime import batches  # noqa: PLC0415  (it imports mlx)

    number = {name: _integer(run, name) for name in NUMBERS}
    if number["iters"] > MAX_ITERATIONS:
        raise DataError(f"iters is {number['iters']:,}; at most {MAX_ITERATIONS:,} are replayed")
    if rows.blocker:
        raise BlockedError(f"the batches are unknown: {rows.blocker}", hint="see run4-data")
    if not run.settings["train"]:
        number["iters"] = 0
    schedule = batches.Schedule(
        **{name: number[name] for name in NUMBERS[:-1]},
        world=run.world,
        test_batches=number["test_batches"] if run.settings["test"] else None,
    )
    lengths = {
        name: batches.Lengths(split.tokens, split.offset, split.keys)
        for name, split in rows.splits.items()
    }
    ranks = [batches.replay(schedule, lengths, rank) for rank in range(run.world)]
    return _joined(ranks, rows, schedule.batch_size)


NUMBERS = (
    *("batch_size", "max_seq_length", "iters", "seed", "steps_per_eval", "val_batches"),
    "test_batches",
)
"""Settings that decide the batches."""


def _integer(run: TrainingRun, name: str) -> int:
    value = run.settings[name]
    least = 0 if name in {"seed", "iters"} else -1 if name.endswith("batches") else 1
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise DataError(f"{name} is {value!r}, which is no number of at least {least}")
    return value


def _joined(ranks: list[ProcessBatches], rows: Rows, batch_size: int) -> Batches:
    """Return the batches of all ranks as one."""
    done = min(len(rank.train) for rank in ranks)
    steps = list(zip(*(rank.train[:done] for rank in ranks), strict=True))
    used = set().union(*(rank.used for rank in ranks))
    train = rows.splits.get("train")
    lines = train.line if train else ()
    failures = sorted(rank.failed for rank in ranks if rank.failed)
    return Batches(
        widths=tuple(max(batch.width for batch in step) for step in steps),
        rows=batch_size // len(ranks),
        validations=tuple(
            Validation(both[0][0], _widths([v for _, v in both]), _untrained([v for _, v in both]))
            for both in zip(*(rank.validations for rank in ranks), strict=False)
        ),
        test=_widths([rank.test for rank in ranks]),
        tokens=sum(batch.tokens for step in steps for batch in step),
        padded=sum(batch.width * batch.rows for step in steps for batch in step),
        trained=sum(batch.trained for step in steps for batch in step),
        nan_iterations=tuple(
            iteration for iteration, step in enumerate(steps, 1) if not all(b.trained for b in step)
        ),
        unused=tuple(line for index, line in enumerate(lines) if index not in used),
        leftover=len(lines) % batch_size,
        failure=_failure(failures[0], rows, ranks) if failures else None,
    )


def _widths(ranks: list[list[Batch]]) -> tuple[int, ...]:
    return tuple(max(batch.width for batch in step) for step in zip(*ranks, strict=False))


def _untrained(ranks: list[list[Batch]]) -> int:
    return sum(not all(b.trained for b in step) for step in zip(*ranks, strict=False))


def _failure(failed: tuple[int, str, int], rows: Rows, ranks: list[ProcessBatches]) -> Failure:
    iteration, split, row = failed
    line = rows.splits[split].line[row] if row >= 0 else 0
    reason = next(rank.reason for rank in ranks if rank.failed == failed)
    return Failure(iteration, split, line, reason)
