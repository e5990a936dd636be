"""Draw random small models and training settings over many families of MLX-LM."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from mlx_preflight.memory.settings import Settings

FAMILIES = (
    "qwen2",
    "llama",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "starcoder2",
    "olmo2",
    "smollm3",
    "granite",
    "stablelm",
)
"""Values of `model_type`."""

TIED_BY_CONFIG = {"qwen2", "llama", "qwen3", "phi3", "starcoder2", "olmo2", "smollm3", "granite"}
"""Families that read `tie_word_embeddings`."""

FUSED_ATTENTION = {"phi3": ("self_attn.qkv_proj",)}
"""Families without q_proj and v_proj."""

GRANITE: dict[str, Any] = {
    "logits_scaling": 8.0,
    "attention_multiplier": 0.1,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
    "attention_bias": False,
    "mlp_bias": False,
}
"""Fields of Granite's config alone."""

WORK = 2e8
"""Parameters x tokens x batches of a configuration: some 5 s on two cores."""


def draw(count: int, seed: int) -> list[tuple[dict[str, Any], Settings]]:
    """Return configurations, the same for the same seed; families take turns.

    What makes a configuration slow to measure must not become rare: type, bits, length and
    checkpointing are drawn first, and the rest again until it is small enough.
    """
    source = random.Random(seed)
    found: list[tuple[dict[str, Any], Settings]] = []
    for index in range(count):
        family = FAMILIES[index % len(FAMILIES)]
        dtype, bits = source.choice(["float32", "bfloat16"]), source.choice([None, 4, 8])
        checkpoint, length = source.random() < 0.5, source.randint(32, 512)
        while True:
            drawn = _settings(source, family)
            settings = replace(
                drawn, dtype=dtype, bits=bits, grad_checkpoint=checkpoint, max_seq_length=length
            )
            config = _config(source, family)
            if _work(config, settings) <= WORK:
                break
        found.append((config, settings))
    return found


def training_steps(settings: Settings) -> int:
    """Return the steps to measure: the timing differs from step to step (see simulation.py)."""
    return max(6, 3 * settings.grad_accumulation_steps)


def _config(source: random.Random, family: str) -> dict[str, Any]:
    head, heads = source.choice([32, 64]), source.choice([2, 4, 6, 8])
    hidden = source.choice([64, 128, 192, 256, 384])
    if family in {"phi3", "starcoder2", "smollm3", "granite", "stablelm"}:
        hidden = head * heads  # their head size is hidden size / heads
    config: dict[str, Any] = {
        "model_type": family,
        "hidden_size": hidden,
        "num_hidden_layers": source.randint(2, 8),
        "intermediate_size": 64 * source.randint(2, 14),
        "num_attention_heads": heads,
        "num_key_value_heads": source.choice([n for n in (1, 2, 4, 8) if heads % n == 0]),
        "vocab_size": source.choice([500, 1000, 2000, 4000, 8000]),
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
    }
    if family not in {"qwen2", "phi3", "starcoder2", "granite", "stablelm"}:
        config["head_dim"] = head
    elif family == "qwen2":
        config["hidden_size"] = head * heads
    if family in TIED_BY_CONFIG:
        config["tie_word_embeddings"] = source.random() < 0.5
    return {**config, **_special(source, family)}


def _special(source: random.Random, family: str) -> dict[str, Any]:
    """Return the fields that one family needs."""
    fields: dict[str, dict[str, Any]] = {
        "gemma3_text": {
            "sliding_window": source.choice([64, 512]),
            "sliding_window_pattern": 2,
        },
        "granite": GRANITE,
        "stablelm": {
            "use_qkv_bias": source.random() < 0.5,
            "partial_rotary_factor": 0.25,
            "layer_norm_eps": 1e-5,
            "use_parallel_residual": source.random() < 0.5,
        },
    }
    return fields.get(family, {})


def _settings(source: random.Random, family: str) -> Settings:
    keys: tuple[str, ...] | None = None
    if source.random() < 0.4:
        keys = FUSED_ATTENTION.get(family, ("self_attn.q_proj", "self_attn.v_proj"))
    return Settings(
        batch_size=source.randint(1, 4),
        num_layers=source.choice([-1, 1, 2]),
        rank=source.choice([4, 8, 16, 32]),
        keys=keys,
        optimizer=source.choice(["adam", "adam", "adamw", "sgd", "adafactor", "muon"]),
        grad_accumulation_steps=source.choice([1, 1, 1, 2, 3]),
        backend="cpu",
    )


def _work(config: dict[str, Any], settings: Settings) -> float:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    width = config.get("head_dim", hidden // config["num_attention_heads"])
    attention = 4 * hidden * width * config["num_attention_heads"]
    block = attention + 3 * hidden * inner
    parameters = config["num_hidden_layers"] * block + config["vocab_size"] * hidden
    tokens = settings.batch_size * settings.max_seq_length
    slow = 3 if settings.dtype == "bfloat16" else 1
    slow *= 2 if settings.bits and settings.dtype == "bfloat16" else 1
    steps = training_steps(settings)
    return float(parameters * tokens * steps * slow) / 12
