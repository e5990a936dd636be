"""MLX-LM's own trainer on rows of one length, for the children that measure a training.

Every row is as long as the settings allow, so the first step already is the longest: a peak
read after a few random rows would only be a lower bound. What the adapter learns is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.tuner import trainer

from mlx_preflight.memory import architecture
from mlx_preflight.memory.settings import Settings

NEVER = 10**9
"""Steps between two validations, and between two checkpoints: none is made."""

SAVED = "adapters.safetensors"
"""File of the adapters, in the working directory."""


class TrainingSteps:
    """Figures of every step, as the trainer's callback.

    Attributes:
        before_bytes: Active memory before the first step: the loaded model.
        losses: None for one that is not finite.
        step_s: The first one includes compilation.
        tokens_per_s: As the trainer counts them.
        peak_bytes: Peak active memory after the step.
    """

    def __init__(self, before_bytes: int) -> None:
        """Start without a step."""
        self.before_bytes = before_bytes
        self.losses: list[float | None] = []
        self.step_s: list[float] = []
        self.tokens_per_s: list[float] = []
        self.peak_bytes: list[int] = []

    def on_train_loss_report(self, info: Mapping[str, float]) -> None:
        """Record one step; the trainer calls it with `steps_per_report=1`."""
        loss = float(info["train_loss"])
        self.losses.append(loss if math.isfinite(loss) else None)
        self.step_s.append(1 / info["iterations_per_second"])
        self.tokens_per_s.append(float(info["tokens_per_second"]))
        self.peak_bytes.append(mx.get_peak_memory())

    def on_val_loss_report(self, info: Mapping[str, float]) -> None:
        """Ignore validation: none is run."""


def train(
    model: Any,
    optimizer: Any,
    settings: Settings,
    rows: Sequence[tuple[list[int], int]],
    *,
    steps: int,
) -> TrainingSteps:
    """Add adapters, reset the peak and train; the adapter goes into the working directory.

    Args:
        model: An mlx_lm model without adapters, lazy or evaluated.
        optimizer: One of mlx.optimizers; its state is freed with it, and counts until then.
        settings: Batch, row length, adapters, checkpointing and accumulation.
        rows: `(tokens, offset)` pairs as the trainer takes them; offset 0 trains every token.
        steps: Steps to run.
    """
    architecture.adapt(model, settings)
    mx.eval(model.parameters())
    recorder = TrainingSteps(reset_peak())
    trainer.train(
        model=model,
        optimizer=optimizer,
        train_dataset=rows,
        args=arguments(settings, steps),
        training_callback=recorder,
    )
    return recorder


def arguments(settings: Settings, steps: int) -> trainer.TrainingArgs:
    """Return arguments of the trainer that reports every step and only saves at the end.

    Args:
        settings: Batch, row length, checkpointing and accumulation.
        steps: Steps to run at most.
    """
    return trainer.TrainingArgs(
        batch_size=settings.batch_size,
        iters=steps,
        steps_per_report=1,
        steps_per_eval=NEVER,
        steps_per_save=NEVER,
        max_seq_length=settings.max_seq_length,
        grad_checkpoint=settings.grad_checkpoint,
        grad_accumulation_steps=settings.grad_accumulation_steps,
        adapter_file=SAVED,
    )


def reset_peak() -> int:
    """Forget the peak and the cache of loading, and return the active bytes."""
    mx.clear_cache()
    mx.reset_peak_memory()
    return int(mx.get_active_memory())
