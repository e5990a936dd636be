"""Run real QLoRA steps inside a worker, through MLX-LM's own trainer.

Every row has the same length, so the first step already is the longest: a peak read
after a few random rows would only be a lower bound. What the adapter learns is nothing;
only memory, time and finiteness are asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.tuner import trainer
from mlx_lm.tuner.datasets import ChatDataset
from mlx_lm.tuner.utils import linear_to_lora_layers

from mlx_preflight.model import loaded
from mlx_preflight.model.exchange import TrainingReport

RANK, SCALE, DROPOUT, MAX_LAYERS, LEARNING_RATE = 8, 20.0, 0.0, 16, 1e-5
"""Defaults of `mlx_lm.lora` (mlx_lm/lora.py, 0.32.2)."""
BATCH_SIZE, BITS, GROUP_SIZES = 1, 4, (64, 32)


class Steps:
    """Collect what the trainer reports after every step (its callback protocol)."""

    def __init__(self) -> None:
        """Start with nothing collected."""
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


def run(model: loaded.Loaded, request: Mapping[str, Any]) -> TrainingReport:
    """Quantize where needed, add adapters, and train for a few steps.

    Args:
        model: A lazily loaded model.
        request: `prompts`, `steps`, `row_tokens` (at most), `seed`, and `folder`
            for the adapter file.
    """
    mx.random.seed(request["seed"])
    np.random.seed(request["seed"])  # (the trainer shuffles rows with it)
    bits, group_size, here = quantize(model)
    layers = add_adapters(model.model)
    mx.eval(model.model.parameters())
    mx.clear_cache()
    mx.reset_peak_memory()
    length = min(request["row_tokens"], loaded.positions(model.config))
    steps, folder = Steps(), Path(request["folder"])
    trainer.train(
        model=model.model,
        optimizer=optim.Adam(learning_rate=LEARNING_RATE),
        train_dataset=rows(model.tokenizer, request["prompts"], length),
        args=trainer.TrainingArgs(
            batch_size=BATCH_SIZE,
            iters=request["steps"],
            max_seq_length=length,
            steps_per_report=1,
            steps_per_save=request["steps"] + 1,
            adapter_file=str(folder / "adapters.safetensors"),
        ),
        training_callback=steps,
    )
    names, trainable = _adapters(model.model)
    return TrainingReport(
        bits=bits,
        group_size=group_size,
        quantized_here=here,
        batch_size=BATCH_SIZE,
        row_tokens=length,
        layers=layers,
        rank=RANK,
        trainable=trainable,
        losses=tuple(steps.losses),
        step_s=tuple(steps.step_s),
        tokens_per_s=tuple(steps.tokens_per_s),
        peak_bytes=tuple(steps.peak_bytes),
        bad_adapters=tuple(names),
        memory=loaded.memory(),
        device=loaded.device(),
    )


def quantize(model: loaded.Loaded) -> tuple[int, int, bool]:
    """Quantize every layer whose width allows it; return bits, group size, and if it did.

    A checkpoint that is already quantized stays as it is. Group 32 is the way out for
    models too narrow for groups of 64.
    """
    stored = model.config.get("quantization") or {}
    if stored:
        return int(stored.get("bits", BITS)), int(stored.get("group_size", 64)), False
    hidden = int(model.config.get("hidden_size", GROUP_SIZES[0]))
    group = next((size for size in GROUP_SIZES if hidden % size == 0), GROUP_SIZES[-1])

    def fits(_: str, module: Any) -> bool:
        return hasattr(module, "to_quantized") and module.weight.shape[-1] % group == 0

    nn.quantize(model.model, group_size=group, bits=BITS, class_predicate=fits)
    done = any(hasattr(module, "bits") for module in model.model.modules())
    return BITS if done else 0, group, done


def add_adapters(model: Any) -> int:
    """Freeze the model, add LoRA to its last blocks, and return how many blocks have it."""
    layers = min(MAX_LAYERS, len(model.layers))
    model.freeze()
    linear_to_lora_layers(
        model, layers, {"rank": RANK, "scale": SCALE, "dropout": DROPOUT, "keys": None}
    )
    return layers


def rows(
    tokenizer: Any, prompts: Sequence[Mapping[str, Any]], length: int
) -> list[tuple[list[int], int]]:
    """Return rows of exactly `length` tokens: chats rendered by MLX-LM, joined and cut.

    Returns:
        `(tokens, offset)` pairs as the trainer takes them; offset 0 trains every token.
    """
    chats = [
        {"messages": [{"role": "user", "content": item["prompt"]}, _reply(item)]}
        for item in prompts
    ]
    dataset = ChatDataset(chats, tokenizer)
    stream = [token for chat in chats for token in dataset.process(chat)[0]]
    stream *= 2 * length // len(stream) + 1
    starts = range(0, len(stream) - length + 1, length)
    return [(stream[start : start + length], 0) for start in starts]


def _reply(item: Mapping[str, Any]) -> dict[str, str]:
    cases = [f"        {x['args']!r}: {x['expected']!r}," for x in item["examples"]]
    lines = [f"def {item['function']}(*args):", "    cases = [", *cases, "    ]"]
    return {"role": "assistant", "content": "\n".join([*lines, "    return cases"])}


def _adapters(model: Any) -> tuple[list[str], int]:
    """Return the names of adapter tensors that are not finite, and the trainable count."""
    arrays = tree_flatten(model.trainable_parameters())
    bad = [name for name, array in arrays if not mx.all(mx.isfinite(array)).item()]
    return bad, sum(array.size for _, array in arrays)
