"""Batches of a training run, replayed with mlx-lm's own functions over rows without tokens.

`np.random` decides the order of the batches: it is seeded and drawn from as `mlx_lm.lora`
does (lora.py `run`, tuner/trainer.py `train` and `evaluate`, 0.32), validations included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.tuner import trainer
from mlx_lm.tuner.datasets import CacheDataset

from mlx_preflight.memory import installation

NO_TOKENS = -1
"""Tokens of a row that cannot be tokenized."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Settings of a run that decide its batches.

    Attributes:
        world: Processes that share a batch.
        test_batches: Batches of the test after the training; None without one.
    """

    batch_size: int
    max_seq_length: int
    iters: int
    seed: int
    steps_per_eval: int
    val_batches: int
    world: int = 1
    test_batches: int | None = None


@dataclass(frozen=True, slots=True)
class Lengths:
    """Rows of a split, in numbers; each sequence has one entry per row.

    Attributes:
        tokens: Tokens, uncut; `NO_TOKENS` where there are none.
        offsets: First target that is trained.
        keys: Keys of the raw row.
    """

    tokens: Sequence[int]
    offsets: Sequence[int]
    keys: Sequence[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of one process.

    Attributes:
        width: Tokens of its rows, padded.
        rows: Rows of this process.
        tokens: Tokens of its rows, cut and not padded.
        trained: Targets that the loss counts; 0 makes the loss 0/0.
    """

    width: int
    rows: int
    tokens: int
    trained: int


@dataclass(slots=True)
class ProcessBatches:
    """What one process of a run gets.

    Attributes:
        train: Batch of every iteration.
        validations: Iteration and batches of every validation.
        test: Batches of the test.
        used: Rows of the training file that a batch held.
        failed: Iteration, split and row (or -1) at which the trainer raises; None where it ends.
        reason: The exception, in mlx-lm's words.
    """

    train: list[Batch]
    validations: list[tuple[int, list[Batch]]]
    test: list[Batch]
    used: set[int]
    failed: tuple[int, str, int] | None = None
    reason: str = ""


class _Group:
    """Stand-in of a group of `mlx.core.distributed`: it knows its place, and sends nothing."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size


class _BrokenRowError(Exception):
    """Row that the trainer's dataset cannot tokenize."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@dataclass(frozen=True, slots=True)
class _Row:
    """Stand-in of a raw row: it has its number of keys."""

    index: int
    keys: int

    def __len__(self) -> int:
        return self.keys


class _Rows:
    """Stand-in of mlx-lm's datasets: a row's tokens are numbers in a row."""

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self.used: set[int] = set()

    def __len__(self) -> int:
        return len(self._lengths.tokens)

    def __getitem__(self, index: int) -> _Row:
        return _Row(index, self._lengths.keys[index])

    def process(self, row: _Row) -> tuple[range, int]:
        tokens = self._lengths.tokens[row.index]
        if tokens == NO_TOKENS:
            raise _BrokenRowError(row.index)
        self.used.add(row.index)
        return range(tokens), self._lengths.offsets[row.index]


class _Batches:
    """Maker of batches of one process; equal batches are counted once."""

    def __init__(self, schedule: Schedule, rank: int) -> None:
        self._schedule = schedule
        self._group = _Group(rank, schedule.world)
        self._trained: dict[tuple[Any, ...], Batch] = {}

    def of(self, rows: CacheDataset, *, loop: bool) -> Iterator[Batch]:
        made = trainer.iterate_batches(
            dataset=rows,
            batch_size=self._schedule.batch_size,
            max_seq_length=self._schedule.max_seq_length,
            loop=loop,
            comm_group=self._group,
        )
        for batch, lengths in made:
            pairs = lengths.tolist()
            key = (batch.shape[1], *map(tuple, pairs))
            if key not in self._trained:
                self._trained[key] = _counted(batch, lengths, pairs)
            yield self._trained[key]


def replay(schedule: Schedule, rows: dict[str, Lengths], rank: int = 0) -> ProcessBatches:
    """Return every batch that one process of a run gets, in order.

    Args:
        schedule: Settings of the run.
        rows: Split (`train`, `valid`, `test`) → its rows; one without rows may be absent.
        rank: Which process.
    """
    before, told = np.random.get_state(), trainer.rprint
    # It would print one line per batch that is cut.
    trainer.rprint = lambda *_args, **_options: None
    try:
        with mx.stream(mx.cpu):
            np.random.seed(schedule.seed)
            return _replayed(schedule, rows, rank)
    finally:
        trainer.rprint = told
        np.random.set_state(before)


def _replayed(schedule: Schedule, rows: dict[str, Lengths], rank: int) -> ProcessBatches:
    batches = _Batches(schedule, rank)
    empty = Lengths((), (), ())
    stand_ins = {split: _Rows(rows.get(split, empty)) for split in ("train", "valid", "test")}
    cached = {split: CacheDataset(found) for split, found in stand_ins.items()}
    done = ProcessBatches([], [], [], stand_ins["train"].used)
    iteration, split = 1, "train"
    try:
        for iteration, batch in zip(
            range(1, schedule.iters + 1), batches.of(cached["train"], loop=True), strict=False
        ):
            if cached["valid"] and _validates(schedule, iteration):
                split = "valid"
                found = list(_first(batches.of(cached["valid"], loop=False), schedule.val_batches))
                done.validations.append((iteration, found))
            split = "train"
            done.train.append(batch)
        if schedule.test_batches is not None:
            iteration, split = schedule.iters, "test"
            done.test += _first(batches.of(cached["test"], loop=False), schedule.test_batches)
    except _BrokenRowError as error:
        done.failed = (len(done.train) + 1, split, error.row)
        done.reason = "the row cannot be tokenized"
    except ValueError as error:
        done.failed, done.reason = (len(done.train) + 1, split, -1), str(error)
    return done


def _validates(schedule: Schedule, iteration: int) -> bool:
    return iteration in {1, schedule.iters} or iteration % schedule.steps_per_eval == 0


def _first(batches: Iterator[Batch], most: int) -> Iterator[Batch]:
    """Return what `evaluate` takes: -1 is all, and any other negative number nothing."""
    return batches if most == -1 else islice(batches, max(most, 0))


def _counted(batch: Any, lengths: Any, pairs: list[list[int]]) -> Batch:
    """Return a batch in numbers; the trainer's own loss says which targets it counts."""

    def model(inputs: Any) -> Any:
        return mx.zeros((*inputs.shape, 1))  # (never evaluated: the count needs no logits)

    _, trained = installation.required(
        "the trainer's loss", lambda: trainer.default_loss(model, batch, lengths)
    )
    rows, width = batch.shape
    return Batch(width, rows, sum(end for _, end in pairs), int(trained.item()))
