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

MIXTRAL: dict[str, Any] = {
    **QWEN,
    "model_type": "mixtral",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}

QWEN3_MOE: dict[str, Any] = {
    **QWEN,
    "model_type": "qwen3_moe",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "tie_word_embeddings": False,
}

QWEN3_5: dict[str, Any] = {
    "model_type": "qwen3_5",
    "text_config": {
        "model_type": "qwen3_5_text",
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "intermediate_size": 256,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "vocab_size": 1000,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "tie_word_embeddings": True,
        "max_position_embeddings": 4096,
    },
}
"""Three blocks of four compute one token after the other."""

MAMBA: dict[str, Any] = {
    "model_type": "mamba",
    "vocab_size": 1000,
    "hidden_size": 128,
    "intermediate_size": 256,
    "state_size": 16,
    "num_hidden_layers": 3,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 8,
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
