"""Small configs and traces that the tests of the memory package share."""

from __future__ import annotations

import dataclasses
from typing import Any

from mlx_preflight.memory.settings import Settings

QWEN: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "intermediate_size": 256,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 1000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}

SMALL = Settings(
    batch_size=1, max_seq_length=65, num_layers=-1, dtype="float32", bits=None, backend="cpu"
)


def qwen(**changes: Any) -> dict[str, Any]:
    """Return the small config with some fields changed; None removes one."""
    merged = {**QWEN, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def small(**changes: Any) -> Settings:
    """Return the small settings with some changed."""
    return dataclasses.replace(SMALL, **changes)
