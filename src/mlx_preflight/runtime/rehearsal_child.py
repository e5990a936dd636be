"""Child that trains a slice of a model with mlx_lm's trainer: `python -m … JOB ANSWER`.

The weights are random numbers of the real shapes and formats, the rows are made up, the
widths are those of the real batches. What is learned is nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner import trainer

from mlx_preflight.core.child_main import run_job
from mlx_preflight.memory import architecture, slices
from mlx_preflight.memory.measure_child import guard
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.trainer import NEVER, SAVED, TrainingSteps, arguments, reset_peak

LEAST = 3
"""Rounds over all widths beside the first steps, whatever they take."""

ENOUGH, ENOUGH_S = 10, 8.0
"""Rounds and seconds after which a steady machine is believed."""

STEADY = 0.02
"""Share by which the two halves of the rounds may differ on a steady machine."""

MOST = 20
"""Validation batches of a width at most."""

EVALUATIONS = 4
"""Validation batches of a width at least; the first one, which warms up, is not counted."""


class Batches:
    """Batches of chosen widths, as the trainer's `iterate_batches`.

    The widths take turns, so that a machine which slows down for a while slows all of them:
    one step of each, which compiles it, then rounds of one update each.
    """

    def __init__(
        self, widths: list[int], settings: Settings, vocabulary: int, share_s: float
    ) -> None:
        """Prepare; nothing is made yet.

        Args:
            widths: Tokens per row, padded, in the order in which they are trained.
            settings: Batch size and accumulation.
            vocabulary: Tokens are below it.
            share_s: Seconds that the rounds may take; `LEAST` rounds are made anyway.
        """
        self.widths = widths
        self.settings = settings
        self.vocabulary = vocabulary
        self.share_s = share_s
        self.trained: list[int] = []

    def __call__(self, *_: Any, **__: Any) -> Iterator[tuple[Any, Any]]:
        """Yield batches; `trained` has the width of each."""
        cycle = self.settings.grad_accumulation_steps
        for width in self.widths:
            yield from self._steps(width, cycle)
        rounds: list[float] = []
        begin = time.perf_counter()
        while not self._done(rounds, time.perf_counter() - begin):
            started = time.perf_counter()
            for width in self.widths:
                yield from self._steps(width, cycle)
            rounds.append(time.perf_counter() - started)

    def _steps(self, width: int, count: int) -> Iterator[tuple[Any, Any]]:
        mx.reset_peak_memory()
        for _ in range(count):
            self.trained.append(width)
            yield self.batch(width)

    def _done(self, rounds: list[float], taken_s: float) -> bool:
        # Processes that share a training end together.
        return len(rounds) >= LEAST and anywhere(self._believed(rounds, taken_s))

    def _believed(self, rounds: list[float], taken_s: float) -> bool:
        if taken_s > self.share_s:
            return True
        if len(rounds) < ENOUGH or taken_s < ENOUGH_S:
            return False
        half = len(rounds) // 2
        first, second = (statistics.fmean(part) for part in (rounds[:half], rounds[half:]))
        return abs(first / second - 1) < STEADY

    def batch(self, width: int) -> tuple[Any, Any]:
        """Return tokens, (rows, width), and the trained span of each row, (rows, 2)."""
        rows = self.settings.batch_size
        drawn = np.random.default_rng(width).integers(0, self.vocabulary, (rows, width))
        return mx.array(drawn.astype(np.int32)), mx.array([[0, width - 1]] * rows)


def anywhere(said: bool) -> bool:
    """Return whether any of the processes that share a training says so; all must ask."""
    # (A sum of a group of one is the number itself.)
    return bool(mx.distributed.all_sum(mx.array(float(said)), stream=mx.cpu).item())


def rehearse(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train and validate a slice, and return time and memory of every width.

    Args:
        job: `config` (JSON text), `settings`, `widths`, `validation` (widths), `seconds` (that
            the steps may take), `memory_limit_bytes` and `seed`.

    Returns:
        `widths` and `validation`: width → seconds of each step, in order, and peak in bytes;
        `firsts`, how many steps of each width compile something; `save_s` and `adapter_bytes`
        of one save.
    """
    guard(int(job["memory_limit_bytes"]))
    settings = Settings.from_json(job["settings"])
    if settings.backend == "cpu":
        mx.set_default_device(mx.cpu)
    mx.random.seed(job["seed"])
    model = architecture.build(json.loads(job["config"]), settings)
    slices.draw(model)
    vocabulary = architecture.vocabulary(model)
    architecture.adapt(model, settings)
    mx.eval(model.parameters())
    share_s = job["seconds"] / max(len(job["widths"]) + len(job["validation"]), 1)
    batches = Batches(job["widths"], settings, vocabulary, share_s * len(job["widths"]))
    steps = _train(model, settings, batches)
    save_s, written = _save(model)
    return {
        "widths": _by_width(batches.trained, steps),
        "firsts": settings.grad_accumulation_steps,
        "validation": {str(w): _evaluate(model, batches, w) for w in job["validation"]},
        "save_s": save_s,
        "adapter_bytes": written,
    }


def _train(model: Any, settings: Settings, batches: Batches) -> TrainingSteps:
    optimizer = architecture.optimizer(model, settings, initialised=False)
    recorder = TrainingSteps(reset_peak())
    trainer.train(
        model=model,
        optimizer=optimizer,
        train_dataset=[],
        args=arguments(settings, NEVER),
        iterate_batches=batches,
        training_callback=recorder,
    )
    return recorder


def _by_width(trained: list[int], steps: TrainingSteps) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for width, seconds, peak in zip(trained, steps.step_s, steps.peak_bytes, strict=True):
        one = found.setdefault(str(width), {"seconds": [], "peak_bytes": 0})
        one["seconds"].append(seconds)
        one["peak_bytes"] = max(one["peak_bytes"], peak)
    return found


def _evaluate(model: Any, batches: Batches, width: int) -> dict[str, Any]:
    """Return time and peak of validation batches of a width."""
    seconds: list[float] = []
    # Processes that share a training end together, and a question between would be timed.
    alone = batches.settings.ranks == 1
    share_s = batches.share_s / len(batches.widths) if alone else 0.0
    most = MOST if alone else EVALUATIONS
    reset_peak()

    def some(*_: Any, **__: Any) -> Iterator[tuple[Any, Any]]:
        started = time.perf_counter()
        for number in range(most):
            begin = time.perf_counter()
            if number >= EVALUATIONS and begin - started > share_s:
                break
            yield batches.batch(width)
            seconds.append(time.perf_counter() - begin)

    trainer.evaluate(
        model,
        [],
        batches.settings.batch_size,
        -1,
        max_seq_length=width,
        iterate_batches=some,
    )
    return {"seconds": seconds, "peak_bytes": mx.get_peak_memory()}


def _save(model: Any) -> tuple[float, int]:
    """Return what saving the adapters takes, in seconds and bytes."""
    weights = dict(tree_flatten(model.trainable_parameters()))
    mx.eval(weights)
    # Beside the trainer's own file: several processes may share the folder.
    saved = f"rank-{mx.distributed.init().rank()}-{SAVED}"
    begin = time.perf_counter()
    mx.save_safetensors(saved, weights)
    seconds = time.perf_counter() - begin
    return seconds, Path(saved).stat().st_size


if __name__ == "__main__":
    sys.exit(run_job(rehearse, sys.argv[1:]))
