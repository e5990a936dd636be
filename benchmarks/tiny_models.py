"""Small models of many families with random weights, saved as mlx_lm loads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from memory_configurations import GRANITE
from mlx.utils import tree_flatten

from mlx_preflight.memory import adapters, architecture
from mlx_preflight.models.catalog import EMBEDDED_FOLDER

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")

SHAPE: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "rope_theta": 10000.0,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "eos_token_id": 1023,
}
"""Fields of every config; the vocabulary is that of the embedded tokenizer."""

SPECIAL: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "mistral": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": False, "head_dim": 32},
    "gemma2": {"head_dim": 32},
    "gemma3_text": {"head_dim": 32, "sliding_window": 64, "sliding_window_pattern": 2},
    "phi3": {"tie_word_embeddings": False},
    "smollm3": {"tie_word_embeddings": True},
    "olmo2": {"tie_word_embeddings": False},
    "starcoder2": {"tie_word_embeddings": True},
    "qwen3_moe": {
        "tie_word_embeddings": False,
        "head_dim": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    },
    "granite": {**GRANITE, "tie_word_embeddings": True},
}
"""Family → what its config has beside `SHAPE`."""


def config_of(family: str, **changes: Any) -> dict[str, Any]:
    """Return the config of a small model.

    Args:
        family: Its `model_type`.
        changes: Fields that differ.
    """
    return {"model_type": family, "dtype": "float32", **SHAPE, **SPECIAL[family], **changes}


def save(config: Mapping[str, Any], folder: Path) -> Path:
    """Save a model of a config, quantized as it says, with the embedded tokenizer.

    Args:
        config: The model's config.json.
        folder: Where to; it must not exist.
    """
    folder.mkdir(parents=True)
    mx.random.seed(0)
    model = architecture.build(config, adapters.stored(config))
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copy(EMBEDDED_FOLDER / name, folder)
    return folder
