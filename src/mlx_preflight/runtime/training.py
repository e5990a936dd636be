"""QLoRA steps inside a worker on rows of real prompts, through MLX-LM's own trainer.

What the adapter learns is nothing; only memory, time and finiteness are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner.datasets import ChatDataset

from mlx_preflight.memory import architecture, quantization, trainer
from mlx_preflight.memory.settings import Settings
from mlx_preflight.runtime import loaded
from mlx_preflight.runtime.messages import TrainingReport

GROUP_SIZES = (64, 32)
"""Weights per scale; 32 is the way out for models too narrow for groups of 64."""


def run(model: loaded.LoadedModel, request: Mapping[str, Any]) -> TrainingReport:
    """Quantize where needed, add adapters, and train for a few steps.

    Args:
        model: A lazily loaded model.
        request: `prompts`, `steps`, `row_tokens` (at most) and `seed`.
    """
    mx.random.seed(request["seed"])
    np.random.seed(request["seed"])  # (the trainer shuffles rows with it)
    bits, group_size, here = quantize(model)
    settings = Settings(
        batch_size=1,
        max_seq_length=min(request["row_tokens"], loaded.positions(model.config)),
        num_layers=min(Settings().num_layers, len(model.model.layers)),
        group_size=group_size,
    )
    data = rows(model.tokenizer, request["prompts"], settings.max_seq_length)
    optimizer = architecture.optimizer(model.model, settings, initialised=False)
    steps = trainer.train(model.model, optimizer, settings, data, steps=request["steps"])
    del optimizer  # (so that the counters below hold what stays of a training)
    names, trainable = _adapters(model.model)
    return TrainingReport(
        bits=bits,
        group_size=group_size,
        quantized_here=here,
        batch_size=settings.batch_size,
        row_tokens=settings.max_seq_length,
        layers=settings.num_layers,
        rank=settings.rank,
        trainable=trainable,
        losses=tuple(steps.losses),
        step_s=tuple(steps.step_s),
        tokens_per_s=tuple(steps.tokens_per_s),
        peak_bytes=tuple(steps.peak_bytes),
        bad_adapters=tuple(names),
        memory=loaded.memory(),
        device=loaded.device(),
    )


def quantize(model: loaded.LoadedModel) -> tuple[int, int, bool]:
    """Quantize as `mlx_lm.convert -q`; return bits, group size, and whether it was done here.

    A checkpoint that is already quantized stays as it is; one that only says so is not. Bits
    are 0 where no layer can be quantized.
    """
    stored = model.config.get("quantization") or {}
    if stored and _is_quantized(model.model):
        return int(stored.get("bits", 4)), int(stored.get("group_size", 64)), False
    hidden = int(model.config.get("hidden_size", GROUP_SIZES[0]))
    group = next((size for size in GROUP_SIZES if hidden % size == 0), GROUP_SIZES[-1])
    settings = Settings(group_size=group)
    # The config may name a format that mlx_lm unpacked while it loaded the weights.
    quantization.quantize(model.model, {}, settings)
    done = _is_quantized(model.model)
    return (settings.bits or 0) if done else 0, group, done


def _is_quantized(model: Any) -> bool:
    return any(hasattr(module, "bits") for module in model.modules())


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
