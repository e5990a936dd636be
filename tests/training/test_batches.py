"""Replayed batches against those that mlx-lm's trainer really makes."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx import nn
from mlx_lm.tuner import trainer
from mlx_lm.tuner.datasets import CacheDataset, create_dataset
from mlx_lm.utils import load_tokenizer

from mlx_preflight.core.errors import DataError
from mlx_preflight.runtime.batches import Lengths, Schedule, replay
from mlx_preflight.training import batches
from mlx_preflight.training.rows import Rows, read_rows
from mlx_preflight.training.training_run import read_run
from tests.training import rows_of

ITERATIONS = 1000


def loss(model: Any, batch: mx.array, lengths: mx.array) -> Any:
    """Return the trainer's own loss over a vocabulary of two, of a model of one number."""

    def logits(inputs: mx.array) -> Any:
        return model.weight[0, 0] * mx.ones((*inputs.shape, 2))

    return trainer.default_loss(logits, batch % 2, lengths)


class Half:
    """One of two processes."""

    def __init__(self, rank: int, size: int) -> None:
        self.place = rank, size

    def rank(self) -> int:
        return self.place[0]

    def size(self) -> int:
        return self.place[1]


class Reports:
    """Losses as the trainer reports them, per iteration."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def on_train_loss_report(self, info: dict[str, Any]) -> None:
        self.losses[info["iteration"]] = info["train_loss"]

    def on_val_loss_report(self, info: dict[str, Any]) -> None:
        pass


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(rows_of.MODEL)


def trained(
    schedule: Schedule, sets: dict[str, Any], rank: int, accumulate: int, scratch: Path
) -> tuple[list[int], list[list[int]], dict[int, float]]:
    """Train for real, and return the widths of training and validations, and the losses."""
    widths: list[int] = []
    validations: list[list[int]] = []

    def recording(**given: Any) -> Iterator[Any]:
        if not given.get("loop"):
            validations.append([])
        kept = widths if given.get("loop") else validations[-1]
        group = Half(rank, schedule.world)
        for batch in trainer.iterate_batches(**{**given, "comm_group": group}):
            kept.append(batch[0].shape[1])
            yield batch

    reports = Reports()
    np.random.seed(schedule.seed)
    model = nn.Linear(1, 1, bias=False)
    args = trainer.TrainingArgs(
        batch_size=schedule.batch_size,
        iters=schedule.iters,
        val_batches=schedule.val_batches,
        steps_per_report=1,
        steps_per_eval=schedule.steps_per_eval,
        steps_per_save=10**9,
        max_seq_length=schedule.max_seq_length,
        adapter_file=str(scratch / "a.safetensors"),
        grad_accumulation_steps=accumulate,
    )
    trainer.train(
        model=model,
        optimizer=optim.SGD(learning_rate=0.0),
        train_dataset=CacheDataset(sets["train"]),
        val_dataset=CacheDataset(sets["valid"]),
        args=args,
        loss=loss,
        iterate_batches=recording,
        training_callback=reports,
    )
    return widths, validations, reports.losses


def drawn(seed: int, tokenizer: Any, iterations: int) -> tuple[Schedule, dict[str, Any], int, int]:
    """Return random settings and rows, which rank is asked, and the accumulation."""
    draw = np.random.default_rng(seed)
    world = int(draw.choice([1, 1, 2]))
    batch = int(draw.choice([1, 2, 3, 4, 6])) * world
    schedule = Schedule(
        batch_size=batch,
        max_seq_length=int(draw.choice([24, 64, 100, 2048])),
        iters=iterations,
        seed=int(draw.integers(1000)),
        steps_per_eval=int(draw.choice([7, 50, 200, 400])),
        val_batches=int(draw.choice([-1, 1, 3, 25])),
        world=world,
    )
    rows = rows_of.chats(int(draw.integers(batch, 60)), seed, most=int(draw.choice([10, 60])))
    for row in draw.permutation(len(rows))[: len(rows) // 3]:
        rows[row]["tools"] = []
    settings = types.SimpleNamespace(mask_prompt=bool(draw.random() < 0.5))
    valid = rows_of.chats(int(draw.integers(batch, 30)), seed + 1)
    sets = {
        "train": create_dataset(rows, tokenizer, settings),
        "valid": create_dataset(valid, tokenizer, settings) if draw.random() < 0.8 else [],
    }
    return schedule, sets, int(draw.integers(world)), int(draw.choice([1, 2, 5]))


def lengths(data: Any) -> Lengths:
    """Return a dataset's rows in numbers."""
    made = [data.process(data[i]) for i in range(len(data))]
    keys = [CacheDataset(data).itemlen(i) for i in range(len(data))]
    return Lengths([len(tokens) for tokens, _ in made], [offset for _, offset in made], keys)


def compare(seed: int, tokenizer: Any, scratch: Path, iterations: int) -> None:
    """Compare the replay of random settings with the trainer."""
    schedule, sets, rank, accumulate = drawn(seed, tokenizer, iterations)
    numbers = {name: lengths(data) for name, data in sets.items()}
    widths, validations, losses = trained(schedule, sets, rank, accumulate, scratch)
    found = replay(schedule, numbers, rank)
    assert found.failed is None
    assert [batch.width for batch in found.train] == widths
    assert [[batch.width for batch in made] for _, made in found.validations] == validations
    nan = [iteration for iteration, batch in enumerate(found.train, 1) if not batch.trained]
    lost = [iteration for iteration, loss in losses.items() if math.isnan(loss)]
    assert nan[:1] == lost[:1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_widths_are_those_of_the_trainer(seed: int, tokenizer: Any, tmp_path: Path) -> None:
    """Every width of 60 iterations and their validations is the trainer's, in drawn settings."""
    compare(seed, tokenizer, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 124))
def test_a_thousand_iterations(seed: int, tokenizer: Any, tmp_path: Path) -> None:
    """Every width of 1,000 iterations is the trainer's, in 24 drawn settings."""
    compare(seed, tokenizer, tmp_path, ITERATIONS)


SCHEDULE = Schedule(
    batch_size=2, max_seq_length=64, iters=10, seed=0, steps_per_eval=4, val_batches=-1
)


def of(*tokens: int, offset: int = 0) -> Lengths:
    return Lengths(tokens, (offset,) * len(tokens), (1,) * len(tokens))


def test_a_batch_whose_prompts_pass_the_limit_trains_nothing() -> None:
    """A batch of rows that are cut before their answer has no target; the others have."""
    found = replay(SCHEDULE, {"train": of(100, 100, 40, 40, offset=64)})
    assert {(batch.width, batch.trained) for batch in found.train} == {(64, 0), (64, 0)}


def test_the_random_state_of_the_caller_stays() -> None:
    """A replay seeds the generator that the trainer uses, and restores it."""
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    replay(SCHEDULE, {"train": of(4, 4)})
    assert np.random.random() == expected


def test_too_few_validation_rows_end_the_run_before_its_first_step() -> None:
    """The replay raises nothing: it says where the trainer would, in mlx-lm's words."""
    found = replay(SCHEDULE, {"train": of(4, 4), "valid": of(4)})
    assert (found.failed, found.train) == ((1, "valid", -1), [])
    assert "batch_size=2" in found.reason


def test_a_row_without_tokens_ends_the_run_when_it_is_drawn() -> None:
    """The iteration of a broken row is the one that draws it."""
    rows = Lengths((9,) * 39 + (-1,), (0,) * 40, (1,) * 40)
    found = replay(Schedule(2, 64, 100, 0, 4, -1), {"train": rows})
    assert found.failed is not None
    assert found.failed[1:] == ("train", 39)
    assert len(found.train) == found.failed[0] - 1 < 20


def test_the_sort_is_by_keys() -> None:
    """Rows of one key more come last, whatever their length."""
    rows = Lengths((60, 60, 4, 4), (0,) * 4, (2, 1, 2, 1))
    assert {batch.width for batch in replay(SCHEDULE, {"train": rows}).train} == {64}
    rows = Lengths((60, 60, 4, 4), (0,) * 4, (1, 1, 1, 1))
    assert {batch.width for batch in replay(SCHEDULE, {"train": rows}).train} == {64, 33}


@pytest.mark.slow
def test_of_a_run(tmp_path: Path) -> None:
    """A run's batches come from its files: padding, widest batch, unused rows, validations."""
    data = rows_of.folder(
        tmp_path / "data",
        {
            "train": [*rows_of.chats(10, 1), rows_of.chats(1, 2, 150, 150)[0]],
            "valid": rows_of.chats(5),
        },
    )
    arguments = ("--batch-size", "2", "--iters", "12", "--steps-per-eval", "5")
    context = rows_of.context(tmp_path, data, *arguments)
    run = read_run(context)
    found = batches.of_run(run, read_rows(context, run, rows_of.MODEL))
    assert len(found.widths) == 12
    assert [item.iteration for item in found.validations] == [1, 5, 10, 12]
    assert {len(item.widths) for item in found.validations} == {2}
    assert (found.leftover, found.unused) == (1, (11,))
    assert found.widths[found.widest[1] - 1] == found.widest[0] == max(found.widths)
    assert 0 < found.padding < 1
    assert (found.nan_iterations, found.failure, found.test) == ((), None, ())


def test_a_setting_that_is_no_number(tmp_path: Path) -> None:
    """A batch size that is no number is refused by name."""
    config = tmp_path / "c.yaml"
    config.write_text("batch_size: many\n")
    run = read_run(rows_of.context(tmp_path, tmp_path, "--config", str(config)))
    with pytest.raises(DataError, match="batch_size is 'many'"):
        batches.of_run(run, cast("Rows", None))
