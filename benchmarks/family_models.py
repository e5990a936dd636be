"""Small models of every type that the installed mlx_lm has, with random weights.

A config holds `FIELDS` whatever the type: the arguments of a model take what they know and
leave the rest. `OWN` has what a type reads in a form of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pkgutil
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_map
from mlx_lm import models, utils
from mlx_lm.utils import _get_classes

from mlx_preflight.models.catalog import EMBEDDED_FOLDER

LAYERS, GROUP = 4, 32

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")

NO_MODELS = {
    *("activations", "base", "bitlinear_layers", "cache", "gated_delta"),
    *("mla", "pipeline", "rope_utils", "ssm", "switch_layers"),
}
"""Modules of `mlx_lm.models` (0.32.2) that hold parts of models."""

_ROPE = {
    "type": "default",
    "rope_type": "default",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "mrope_section": [2, 3, 3],
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 1024,
}

_YARN = {
    **dict.fromkeys(("factor", "mscale", "mscale_all_dim", "beta_slow"), 1.0),
    "type": "yarn",
    "beta_fast": 32,
    "original_max_position_embeddings": 1024,
}

_LINEAR_ATTENTION = {
    "kda_layers": [1, 2, 3],
    "full_attn_layers": [4],
    "num_heads": 4,
    "head_dim": 32,
    "short_conv_kernel_size": 4,
}

_SIZES: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "model_dim", "hidden_dim"), 128),
    **dict.fromkeys(("intermediate_size", "intermediate_size_mlp", "n_inner"), 128),
    **dict.fromkeys(("ffn_hidden_size", "mlp_hidden_size", "ff_intermediate_size"), 128),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "moe_hidden_size"), 64),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_intermediate_size"), 64),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "share_expert_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layers", "n_layer"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "n_kv_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("vocab_size", "embedding_size", "vocab_size_per_layer_input"), 1024),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts", "num_local_experts_per_layer"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "num_shared_expert"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "block_size"), 2048),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "swa_head_dim"), 32),
    **dict.fromkeys(("mamba_head_dim", "mamba_d_head", "index_head_dim", "head_size"), 32),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "rotary_dim"), 32),
    **dict.fromkeys(("swa_v_head_dim", "global_head_dim"), 32),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_num_heads", "mamba_n_heads", "index_n_heads"), 4),
    **dict.fromkeys(("swa_num_key_value_heads",), 2),
    **dict.fromkeys(("block_dim", "block_ff_dim"), 128),
    **dict.fromkeys(("swa_num_attention_heads", "num_attention_groups"), 4),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "lora_rank", "laurel_rank"), 32),
    **dict.fromkeys(("a_low_rank_dim", "decay_low_rank_dim", "gate_low_rank_dim"), 32),
    **dict.fromkeys(("v_low_rank_dim", "hidden_size_per_layer_input"), 32),
    **dict.fromkeys(("qk_rope_head_dim", "dim_model_base", "state_size", "ssm_state_size"), 16),
    **dict.fromkeys(("mamba_d_state", "time_step_rank", "conv_window", "index_topk"), 16),
    **dict.fromkeys(("conv_kernel", "conv1d_width", "conv_L_cache", "mamba_d_conv"), 4),
    **dict.fromkeys(("linear_conv_kernel_dim",), 4),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window_size"), 64),
    **dict.fromkeys(("attention_chunk_size", "ffn_dim_divisor", "block_multiple_of"), 64),
    **dict.fromkeys(("n_group", "n_groups", "topk_group", "mamba_n_groups"), 1),
    **dict.fromkeys(("decoder_sparse_step", "moe_layer_freq", "moe_layer_interval"), 1),
    **dict.fromkeys(("group_norm_size", "num_dense_layers", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_kv_shared_layers", "num_kv_reuse_layers"), 1),
    **dict.fromkeys(("layer_group_size", "full_attention_interval"), 2),
    **dict.fromkeys(("interleave_moe_layer_step", "cla_share_factor", "mamba_expand"), 2),
    **dict.fromkeys(("attn_layer_period", "expert_layer_period", "altup_num_inputs"), 2),
    **dict.fromkeys(("dense_attention_every_n_layers", "zero_expert_num"), 2),
    **dict.fromkeys(("global_attn_every_n_layers",), 2),
    **dict.fromkeys(("attn_layer_offset", "expert_layer_offset"), 1),
}

FIELDS: dict[str, Any] = {
    **_SIZES,
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"), 1e-6),
    **dict.fromkeys(("layernorm_epsilon", "post_norm_eps", "norm_epsilon"), 1e-6),
    **dict.fromkeys(("rope_theta", "rope_local_base_freq", "swa_rope_theta"), 10000.0),
    **dict.fromkeys(("routed_scaling_factor", "attention_multiplier", "logits_scaling"), 1.0),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "output_multiplier"), 1.0),
    **dict.fromkeys(("scale_emb", "scale_depth", "block_ffn_dim_multiplier"), 1.0),
    **dict.fromkeys(("altup_coef_clip", "gegelu_limit"), 20.0),
    **dict.fromkeys(("final_logit_softcapping", "logits_soft_cap"), 30.0),
    **dict.fromkeys(("attention_bias", "mlp_bias", "use_bias", "use_qkv_bias"), False),
    **dict.fromkeys(("mamba_proj_bias", "conv_bias", "post_norm", "use_cla"), False),
    **dict.fromkeys(("use_mixed_mlp_moe", "add_full_attention_sink_bias"), False),
    **dict.fromkeys(("mla_scale_kv_lora", "mla_scale_q_lora", "block_auto_adjust_ff_dim"), False),
    **dict.fromkeys(("altup_correct_scale", "linear_allow_neg_eigval"), False),
    **dict.fromkeys(("norm_topk_prob", "use_qk_norm", "use_conv_bias", "qk_norm"), True),
    **dict.fromkeys(("add_swa_attention_sink_bias", "use_expert_bias"), True),
    "tie_word_embeddings": False,
    "partial_rotary_factor": 0.5,
    "rotary_pct": 0.5,
    "rotary_emb_base": 10000,
    "altup_active_idx": 0,
    "activation_sparsity_pattern": [0.0] * LAYERS,
    "rope_parameters": _ROPE,
    "rope_scaling": None,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "hidden_act": "silu",
    "attention_method": "MLA",
    "zero_expert_type": "identity",
    "mlp_only_layers": [],
    "sliding_window_layers": [1],
    "sliding_window_pattern": 2,
    "is_moe_layer": [False, True, True, True],
    "hybrid_layer_pattern": [0, 1, 0, 1],
    "time_step_limit": [0.001, 100.0],
    "no_rope_layers": [1] * LAYERS,
    "layer_rope_theta": [10000.0] * LAYERS,
    "linear_attn_config": _LINEAR_ATTENTION,
    "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    "model_max_length": 2048,
    "eos_token_id": 1023,
    "dtype": "float32",
}
"""Fields of every config; the vocabulary is that of the embedded tokenizer."""

FOR_ALL = ("model_type", "eos_token_id", "dtype", "vocab_size")
"""Fields that stay whether a model reads them or not."""

_HYBRID = ["linear_attention", "full_attention"] * (LAYERS // 2)

OWN: dict[str, dict[str, Any]] = {
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"rope_scaling": _YARN},
    "exaone4": {
        "sliding_window_pattern": "LG",
        "rope_scaling": {"rope_type": "default"},
        "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    },
    "falcon_h1": {"mamba_n_heads": 8},
    "hunyuan": {"rope_scaling": {"type": "dynamic", "alpha": 1.0, "factor": 1.0}},
    "llama4": {"num_experts_per_tok": 1},
    "mamba2": {"num_heads": 8},
    "mellum": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "lfm2": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "lfm2-vl": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * (LAYERS // 2),
        "mamba_n_heads": 8,
    },
    "olmo_hybrid": {"layer_types": _HYBRID},
    "qwen3_5": {"layer_types": _HYBRID},
    "qwen3_next": {"layer_types": _HYBRID},
    "mimo_v2_flash": {"moe_layer_freq": [0, 1, 1, 1]},
    "minimax_m3_vl": {"moe_layer_freq": [0, 1, 1, 1]},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "mlp", "moe"]},
    "nemotron-nas": {
        "block_configs": [
            {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}} for _ in range(LAYERS)
        ]
    },
    "openelm": {
        "num_transformer_layers": LAYERS,
        "num_query_heads": [4] * LAYERS,
        "num_kv_heads": [2] * LAYERS,
        "ffn_multipliers": [1.0] * LAYERS,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "spark2_5": {
        "hidden_act": "gelu",
        "rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE},
    },
}
"""Model type → fields of another form than most models have them in."""


def model_types() -> list[str]:
    """Return every model type of the installed mlx_lm that is a module of its own."""
    found = {item.name for item in pkgutil.iter_modules(models.__path__)}
    return sorted(found - NO_MODELS)


def config_of(model_type: str, **changes: Any) -> dict[str, Any]:
    """Return the config of a small model.

    Args:
        model_type: One of `model_types`.
        changes: Fields that differ.
    """
    whole = {**FIELDS, **OWN.get(model_type, {}), **changes, "model_type": model_type}
    whole["text_config"] = {**whole, "model_type": _text_type(model_type)}
    read = {item.name for item in dataclasses.fields(_get_classes(whole)[1])}
    # Others would be read by transformers, which refuses some of them.
    read |= {*FOR_ALL, *OWN.get(model_type, ()), *changes}
    found = {name: value for name, value in whole.items() if name in read}
    copied: dict[str, Any] = json.loads(json.dumps(found))
    return copied


def _text_type(model_type: str) -> str:
    """Return the type of the language model inside a model that sees."""
    inner = {
        "gemma4": "gemma4_text",
        "llama4": "llama4_text",
        "gemma3": "gemma3_text",
        "mistral3": "ministral3",
        "pixtral": "mistral",
        "kimi_vl": "deepseek_v3",
        "lfm2-vl": "lfm2",
        "qwen3_vl": "qwen3",
        "qwen3_vl_moe": "qwen3_moe",
        "qwen2_vl": "qwen2",
    }
    return inner.get(model_type, model_type)


def build(config: Mapping[str, Any]) -> Any:
    """Return a model whose every float is random: a tensor of zeros would be a finding."""
    mx.random.seed(0)
    model_class, args_class = _get_classes(dict(config))
    model = model_class(args_class.from_dict(dict(config)))
    dtype = getattr(mx, config["dtype"])

    def filled(array: mx.array) -> mx.array:
        if not mx.issubdtype(array.dtype, mx.floating):
            return array
        return (0.05 * mx.random.normal(array.shape)).astype(dtype)

    model.update(tree_map(filled, model.parameters()))
    return model


def save(
    config: Mapping[str, Any],
    folder: Path,
    *,
    bits: int | None = None,
    extra: Mapping[str, mx.array] | None = None,
) -> Path:
    """Save a small model as `mlx_lm.convert` does, with the embedded tokenizer.

    Args:
        config: Its config.json.
        folder: Where to; it must not exist.
        bits: Quantize to so many; None leaves it as it is.
        extra: Tensors beside those of the model, which mlx_lm is to drop.
    """
    folder.mkdir(parents=True)
    model, stored = build(config), dict(config)
    if bits is not None:
        with contextlib.redirect_stdout(sys.stderr):  # (it prints what it did)
            model, stored = utils.quantize_model(model, stored, GROUP, bits)
    weights = {**dict(tree_flatten(model.parameters())), **(extra or {})}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copy(EMBEDDED_FOLDER / name, folder)
    return folder


def is_quantized(model: nn.Module) -> bool:
    """Return whether a layer of a model is quantized."""
    return any(hasattr(module, "bits") for module in model.modules())
