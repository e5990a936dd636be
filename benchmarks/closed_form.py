"""Estimate the peak of a QLoRA step from a config alone, term by term.

A coarse answer for a model that is not on this machine: every term is derived from what
MLX-LM's layers do (mlx_lm 0.32.2), one constant is fitted. It knows the Qwen2 and Llama
layout only. Against published peaks of Qwen2.5 models it is within 25 %; it reads low
where a report's longest batch was longer than its average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_preflight.core.errors import PreflightError

ADAPTER_BYTES = 4
"""LoRA matrices are float32: `mx.random.uniform` and `mx.zeros` in mlx_lm/tuner/lora.py."""
COMPUTE_BYTES = 2
"""Activations are bfloat16 in the published Qwen2.5 checkpoints."""
LOGITS_COPIES_BYTES = 2 + 4 + 4
"""Per logit: bfloat16 output, float32 difference and float32 softmax of
`nn.losses.cross_entropy` and its gradient. Fitted to the float32 pair, since compilation
merges the rest."""
LAYOUTS = ("qwen2", "llama", "mistral", "qwen3")
"""Values of `model_type` whose blocks have the seven linear layers counted here."""


def linear_shapes(config: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return `(inputs, outputs)` of the seven linear layers of one block."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    keys = config.get("num_key_value_heads", heads) * head
    attention = [(hidden, heads * head), (hidden, keys), (hidden, keys), (heads * head, hidden)]
    return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]


def count_parameters(config: Mapping[str, Any]) -> int:
    """Return the exact parameter count of a Qwen2 or Llama layout.

    Raises:
        PreflightError: Another layout.
    """
    matrices, rest = _split(config)
    return matrices + rest


def _split(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the parameters in matrices, which can be quantized, and all others."""
    kind = config.get("model_type")
    if kind not in LAYOUTS:
        raise PreflightError(f"no closed form for model_type {kind!r}; known: {LAYOUTS}")
    hidden, layers, shapes = (
        config["hidden_size"],
        config["num_hidden_layers"],
        linear_shapes(config),
    )
    tables = 1 if config.get("tie_word_embeddings", False) else 2
    matrices = layers * sum(i * o for i, o in shapes) + tables * config["vocab_size"] * hidden
    biases = sum(o for _, o in shapes[:3]) if kind == "qwen2" else 0
    return matrices, layers * (2 * hidden + biases) + hidden


def estimate_training(
    config: Mapping[str, Any],
    *,
    batch: int = 1,
    row_tokens: int = 256,
    layers: int = 16,
    rank: int = 8,
    bits: int = 4,
    group: int = 64,
    checkpointed: bool = False,
) -> dict[str, int]:
    """Return the peak bytes of one QLoRA step by category, and their `total`.

    Args:
        config: Hugging Face config of the model.
        batch: Rows of a batch.
        row_tokens: Tokens of the longest row.
        layers: Blocks with adapters, counted from the last.
        rank: LoRA rank on all seven linear layers (the default since mlx-lm 0.28.2).
        bits: Bits of the frozen weights.
        group: Weights that share one bfloat16 scale and bias.
        checkpointed: Whether each block is recomputed in the backward pass.

    Raises:
        PreflightError: A layout that has no closed form here.
    """
    matrices, rest = _split(config)
    shapes = linear_shapes(config)
    layers = min(layers, config["num_hidden_layers"])
    adapters = layers * rank * sum(i + o for i, o in shapes)
    tokens = batch * row_tokens
    block = tokens * _block_bytes(config, shapes, rank) + _scores(config, batch, row_tokens)
    kept = tokens * config["hidden_size"] * COMPUTE_BYTES * layers
    parts = {
        # One scale and one bias of 2 bytes per group: 4.5 bits per weight for 4 bits, group 64.
        "weights": matrices * bits // 8 + matrices * 4 // group + rest * COMPUTE_BYTES,
        "adapters": adapters * ADAPTER_BYTES,
        "gradients": adapters * ADAPTER_BYTES,
        "optimizer": 2 * adapters * ADAPTER_BYTES,  # Adam's two moments
        "activations": block + kept if checkpointed else block * layers,
        "logits": tokens * config["vocab_size"] * LOGITS_COPIES_BYTES,
    }
    return {**parts, "total": sum(parts.values())}


def _block_bytes(config: Mapping[str, Any], shapes: list[tuple[int, int]], rank: int) -> int:
    """Return the bytes per token that one block keeps for its backward pass.

    Both residual inputs and both norms (4 x hidden), every linear output, rotated
    queries and keys, the attention output, SiLU and its product; float32 copies of the
    four different inputs of linear layers, which the float32 LoRA matrices ask for, and
    the float32 products of rank `rank`.
    """
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    outputs: int = sum(o for _, o in shapes)
    rotated = shapes[0][1] + shapes[1][1]
    half = 4 * hidden + outputs + rotated + shapes[3][0] + 2 * inner
    single = 2 * hidden + shapes[3][0] + inner + rank * len(shapes)
    return half * COMPUTE_BYTES + single * ADAPTER_BYTES


def _scores(config: Mapping[str, Any], batch: int, row_tokens: int) -> int:
    """Return the bytes of one block's attention scores, quadratic in the row.

    Training takes the unfused path on Metal and CPU (mlx, scaled_dot_product_attention):
    scores and softmax, (batch, heads, length, length), stay until the backward pass.
    """
    heads = int(config["num_attention_heads"])
    return 2 * batch * heads * row_tokens**2 * COMPUTE_BYTES
