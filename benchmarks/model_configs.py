"""The smallest config of every model file of the installed mlx_lm, as its arguments allow.

A field is set where `ModelArgs` has an argument of that name: by `NEEDS` of its type, else by
`SMALL`; other arguments keep their default, and a required flag is off. So a new model file
needs an entry here only where its arguments have names that no other file has.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from mlx_lm import models
from mlx_lm.utils import MODEL_REMAPPING

LAYERS = 4

SMALL: dict[str, Any] = {
    # Widths, under the names that model files have for them.
    **dict.fromkeys(("hidden_size", "hidden_dim", "d_model", "n_embd", "model_dim"), 128),
    **dict.fromkeys(("intermediate_size", "ff_intermediate_size", "ffn_hidden_size"), 256),
    **dict.fromkeys(("n_inner", "mlp_hidden_size", "intermediate_size_mlp"), 256),
    **dict.fromkeys(("dense_intermediate_size", "block_ff_dim"), 256),
    "block_dim": 128,
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 64),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_intermediate_size"), 64),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "share_expert_dim"), 64),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    **dict.fromkeys(("num_attention_groups", "swa_num_key_value_heads"), 2),
    **dict.fromkeys(("head_dim", "kv_channels", "hidden_size_per_head", "rotary_dim"), 32),
    **dict.fromkeys(("swa_num_attention_heads", "num_swa_attention_heads"), 4),
    **dict.fromkeys(("swa_head_dim", "swa_v_head_dim", "v_head_dim", "global_head_dim"), 32),
    **dict.fromkeys(("qk_nope_head_dim", "index_head_dim"), 32),
    "qk_rope_head_dim": 16,
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 64),
    # Depth, vocabulary and positions.
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layers", "n_layer"), LAYERS),
    "num_transformer_layers": LAYERS,
    **dict.fromkeys(("vocab_size", "embedding_size", "num_vocab"), 2048),
    "vocab_size_per_layer_input": 2048,
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "block_size"), 2048),
    "model_max_length": 2048,
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size"), 64),
    "attention_window_size": 64,
    "sliding_window_pattern": 2,
    # Experts.
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts",), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("moe_top_k",), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "num_shared_expert"), 1),
    **dict.fromkeys(("first_k_dense_replace", "decoder_sparse_step", "moe_layer_freq"), 1),
    **dict.fromkeys(("n_group", "topk_group", "num_dense_layers", "zero_expert_num"), 1),
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    # Recurrences.
    **dict.fromkeys(("linear_num_value_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 32),
    **dict.fromkeys(("linear_conv_kernel_dim", "conv_kernel", "mamba_d_conv", "conv1d_width"), 4),
    **dict.fromkeys(("state_size", "ssm_state_size", "mamba_d_state"), 16),
    **dict.fromkeys(("mamba_num_heads", "mamba_n_heads"), 4),
    **dict.fromkeys(("mamba_head_dim", "mamba_d_head"), 32),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "group_norm_size"), 1),
    **dict.fromkeys(("conv_L_cache",), 3),
    "time_step_rank": 8,
    "mamba_expand": 2,
    "layer_group_size": 2,
    # Numbers.
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"), 1e-6),
    **dict.fromkeys(("layernorm_epsilon", "post_norm_eps"), 1e-6),
    **dict.fromkeys(("rope_theta", "rope_local_base_freq", "swa_rope_theta"), 10000.0),
    "rotary_emb_base": 10000,
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), 0.5),
    **dict.fromkeys(("logits_scaling", "attention_multiplier", "embedding_multiplier"), 1.0),
    **dict.fromkeys(("residual_multiplier", "scale_depth", "scale_emb"), 1.0),
    **dict.fromkeys(("final_logit_softcapping", "logits_soft_cap"), 30.0),
}
"""Argument → its smallest value: heads and widths that every quantization divides."""

SLIDING = ["sliding_attention", "full_attention"] * (LAYERS // 2)
ROPE = {"rope_theta": 10000.0, "rope_type": "default", "type": "default"}
MLA = {"head_dim": 48, "num_key_value_heads": 4}
KIMI: dict[str, Any] = {
    "linear_attn_config": {
        "kda_layers": [1, 2, 3],
        "full_attn_layers": [4],
        "num_heads": 4,
        "head_dim": 32,
        "short_conv_kernel_size": 4,
    },
    "num_key_value_heads": 4,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
}
YARN = {
    **ROPE,
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 1024,
    "factor": 1.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}

LONGCAT = {"mla_scale_q_lora": True, "mla_scale_kv_lora": True}

LONG_ROPE = {
    "type": "longrope",
    "original_max_position_embeddings": 1024,
    "short_factor": [1.0] * 8,
    "long_factor": [1.0] * 8,
}

NEEDS: dict[str, dict[str, Any]] = {
    "afm7": {"num_layers": 3, "num_kv_reuse_layers": 1},
    "afmoe": {"layer_types": SLIDING},
    "baichuan_m1": {"sliding_window_layers": [1, 3], "conv_window": 2},
    "bailing_hybrid": {**MLA, "num_experts": 4},
    "bailing_moe_v3": {**MLA, "n_group": 1, "topk_group": 1},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    },
    "deepseek_v2": {"rope_scaling": YARN},
    "deepseek_v32": {"index_n_heads": 4, "index_topk": 32},
    "deepseek_v41": {
        "head_dim": 64,
        "compress_ratios": [0, 0, 0, 0],
        "o_groups": 2,
        "index_n_heads": 2,
        "index_topk": 32,
        "hc_mult": 2,
    },
    "dots1": {"scoring_func": "noaux_tc"},
    "exaone4": {"rope_scaling": {"rope_type": "default"}, "sliding_window_pattern": "LLLG"},
    "exaone_moe": {"layer_types": SLIDING, "is_moe_layer": [False, True, True, True]},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gear": {"layer_types": SLIDING},
    "gemma3n": {
        "layer_types": SLIDING,
        "activation_sparsity_pattern": [0.0] * LAYERS,
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 64,
        "laurel_rank": 16,
        "altup_num_inputs": 2,
        "altup_coef_clip": 120.0,
        "altup_active_idx": 0,
    },
    "gemma4_text": {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 64},
    "glm4_moe": {"rope_scaling": None, "topk_method": "noaux_tc"},
    "glm_moe_dsa": {
        "index_n_heads": 4,
        "index_topk": 32,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "rope_parameters": ROPE,
    },
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "mamba_conv_bias": True}
    | {"mamba_proj_bias": False},
    "hunyuan": {
        "cla_share_factor": 2,
        "rope_scaling": {**ROPE, "alpha": 1.0, "factor": 1.0},
    },
    "jamba": {
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
    },
    "kimi_k3": KIMI,
    "kimi_linear": KIMI,
    "laguna": {"layer_types": SLIDING[::-1], "rope_parameters": dict.fromkeys(SLIDING, ROPE)},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 64}
    | {"block_ffn_dim_multiplier": 1.0},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "llama4": {
        "num_experts_per_tok": 1,
        "attention_chunk_size": 64,
        "interleave_moe_layer_step": 2,
        "rope_scaling": None,
    },
    "llama4_text": {"no_rope_layers": [1, 1, 1, 0]},
    "longcat_flash": {"attention_method": "MLA", "zero_expert_type": "identity", **LONGCAT},
    "longcat_flash_ngram": {
        **LONGCAT,
        "ngram_vocab_size_ratio": 2,
        "emb_neighbor_num": 2,
        "emb_split_num": 2,
    },
    "mamba2": {"time_step_limit": [0.0, 1e9], "intermediate_size": 256, "num_heads": 8},
    "mellum": {"layer_types": SLIDING, "rope_parameters": dict.fromkeys(SLIDING, ROPE)},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [0, 1, 1, 0],
        "moe_layer_freq": [0, 1, 1, 1],
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
    },
    "minicpm": {"dim_model_base": 128},
    "minicpm3": {"dim_model_base": 128, "rope_scaling": LONG_ROPE},
    "minimax_m3_vl": {"moe_layer_freq": [0, 1, 1, 1]},
    "ministral3": {"rope_parameters": YARN},
    "mistral4": {**MLA, "rope_parameters": YARN, "rope_scaling": YARN},
    "muse_spark": {
        "layer_types": SLIDING,
        "layer_rope_theta": [10000.0, 0.0] * 2,
        "rope_parameters": ROPE,
        "moe_hidden_size": 128,
        "num_shared_experts": 0,
        "output_multiplier": 1.0,
    },
    "nemotron": {"hidden_act": "relu2"},
    "nemotron-nas": {
        "block_configs": [{"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}}] * LAYERS
    },
    "nemotron_h": {
        "hybrid_override_pattern": ["M", "*", "-", "E"],
        "time_step_limit": [0.0, 1e9],
    },
    "olmo_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "openelm": {
        "num_query_heads": [4] * LAYERS,
        "num_kv_heads": [2] * LAYERS,
        "ffn_multipliers": [2.0] * LAYERS,
        "ffn_dim_divisor": 64,
    },
    # `Model._dummy_tokenizer_ids` of mlx_lm/models/phi3small.py (0.32) go up to 100351.
    "phi3small": {"vocab_size": 100352, "dense_attention_every_n_layers": 2, "gegelu_limit": 20.0},
    "plamo": {"n_shared_head": 2},
    "plamo2": {"mamba_step": 2},
    "phixtral": {"rotary_dim": 16},
    "qwen3_5_moe": {"num_experts": 4},
    "qwen3_5": {"num_experts": 0},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "rwkv7": dict.fromkeys(("a_low_rank_dim", "v_low_rank_dim", "decay_low_rank_dim"), 32)
    | {"gate_low_rank_dim": 32},
    "spark2_5": {"layer_types": SLIDING, "rope_parameters": dict.fromkeys(SLIDING, ROPE)},
    "step3p5": {
        "layer_types": SLIDING,
        "moe_layers_enum": "1,2,3",
        "rope_theta": [10000.0] * LAYERS,
        "num_attention_groups": 2,
    },
    "telechat3": {},
}
"""Module of mlx_lm → what its arguments need beside `SMALL`."""

TEXT = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "lfm2-vl": "lfm2",
    "mistral3": "llama",
    "pixtral": "llama",
    "qwen2_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "kimi_k25": "deepseek_v3",
    "qwen3_5_moe": "qwen3_5",
    "prism_hadamard_qwen35": "qwen3_5",
}
"""Module with a `text_config` → the one whose arguments that has; others have it themselves."""

OUTER = ("vocab_size", "tie_word_embeddings")
"""Fields that a model of text and images may read outside of its `text_config`."""


def types() -> dict[str, str]:
    """Return every model type and alias → the model file that it runs."""
    folder = Path(str(models.__path__[0]))
    names = [item.name for item in pkgutil.iter_modules([str(folder)])]
    texts = {name: (folder / f"{name}.py").read_text("utf-8") for name in names}
    own = {
        name: name
        for name, text in texts.items()
        if re.search(r"^class Model\b", text, re.MULTILINE)
        and re.search(r"^class ModelArgs\b", text, re.MULTILINE)
    }
    return {**own, **MODEL_REMAPPING}


def config_of(kind: str) -> dict[str, Any]:
    """Return the smallest config of a model type or an alias.

    Raises:
        SystemExit: Its model file ends the process, as `olmo` does without its package.
        KeyError: An argument that no table here has.
    """
    module = types()[kind]
    file = importlib.import_module(f"mlx_lm.models.{module}")
    arguments = inspect.signature(file.ModelArgs).parameters
    if "text_config" not in arguments:
        return {**_fields(module, file.ModelArgs), "model_type": kind}
    text = _text(module, file)
    outer = {name: SMALL[name] for name in OUTER if name in arguments and name in SMALL}
    return {**outer, "model_type": kind, "text_config": text}


def _text(module: str, file: Any) -> dict[str, Any]:
    """Return the `text_config` of a model of text and images."""
    inner = TEXT.get(module, module)
    if inner != module:
        other = importlib.import_module(f"mlx_lm.models.{inner}")
        kind = getattr(other, "TextModelArgs", other.ModelArgs)
        return {**_fields(inner, kind), **NEEDS.get(module, {}), "model_type": inner}
    names = ("TextArgs", "TextConfig", "TextModelArgs")
    kind = next(getattr(file, name) for name in names if hasattr(file, name))
    return {**_fields(module, kind), "model_type": module}


def _fields(module: str, kind: Any) -> dict[str, Any]:
    """Return the smallest value of every argument that has one, and of every required one."""
    hints: Mapping[str, Any] = get_type_hints(kind)
    needs, found = NEEDS.get(module, {}), {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name == "model_type":
            continue
        if name in needs or name in SMALL:
            found[name] = needs.get(name, SMALL.get(name))
        elif parameter.default is inspect.Parameter.empty:
            if hints[name] is not bool:
                raise KeyError(f"{module}: {name} ({hints[name]}) has no value in this table")
            found[name] = False
    return found
