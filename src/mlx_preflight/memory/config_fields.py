"""Validation of a model's config.json; a refusal names field, value and what is allowed."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from mlx_lm import models
from mlx_lm.models.base import BaseModelArgs

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import architecture, installation
from mlx_preflight.memory.replay import generation
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models.quantization import GROUPS, read_quantization

SIZES = {
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**12,
    "num_key_value_heads": 2**12,
    "head_dim": 2**14,
    "hidden_size": 2**18,
    "intermediate_size": 2**20,
    "vocab_size": 2**24,
    "max_position_embeddings": 2**31 - 1,
}
"""Config fields that are positive integers wherever they appear, and their largest values:
some ten times the largest of any published model."""

EXPERTS = (
    *("num_experts", "num_local_experts", "n_routed_experts", "n_shared_experts"),
    *("num_experts_per_tok", "moe_intermediate_size", "sliding_window"),
)
"""Config fields that are integers, where they are set, and may be zero."""

TEXT = "text_config"
"""Field with the language model of a model of text and images."""

POSITIVE = ("rms_norm_eps", "rope_theta")
"""Config fields that are numbers above zero wherever they appear."""


def is_integer(value: object) -> bool:
    """Return whether a value is an integer, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_config(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a config that no model can be built from, or that the run does not fit.

    Raises:
        EstimateError: A field that is missing, contradicts another or is too small.
    """
    kind = config.get("model_type")
    if kind is None:
        raise EstimateError("model_type", None, "the config's architecture, such as qwen2 or llama")
    if not isinstance(kind, str):
        raise EstimateError("model_type", kind, "a name, such as qwen2 or llama")
    if config.get("model_file") is not None:
        raise EstimateError(
            "model_file", config["model_file"], "nothing: code of a repository is never run"
        )
    text = config.get("text_config") or {}
    if not isinstance(text, Mapping):
        raise EstimateError("text_config", text, "an object with the language model's fields")
    inner = {**config, **text}
    _check_numbers(inner)
    _check_fields(config)
    _check_heads(inner)
    _check_cache(inner, settings)
    _check_length(inner, settings)
    _check_group(config, settings)


def _check_numbers(config: Mapping[str, Any]) -> None:
    """Refuse fields that no model can have, before mlx_lm stumbles over them."""
    for name, most in SIZES.items():
        value = config.get(name)
        if value is not None and (not is_integer(value) or not 1 <= value <= most):
            raise EstimateError(name, value, f"a positive integer of at most {most}")
    for name in EXPERTS:
        value = config.get(name)
        if value is not None and (not is_integer(value) or not 0 <= value <= SIZES["vocab_size"]):
            raise EstimateError(name, value, f"an integer of 0 to {SIZES['vocab_size']}")
    for name in POSITIVE:
        value = config.get(name)
        # step3p5 has a list, one for each block; another model's own code refuses that.
        for one in value if isinstance(value, list) and value else [value]:
            if one is not None and (not isinstance(one, int | float) or not one > 0):
                raise EstimateError(name, value, "a number above 0")
    tied = config.get("tie_word_embeddings")
    if not isinstance(tied, bool | None):
        raise EstimateError("tie_word_embeddings", tied, "true or false")


def _check_group(config: Mapping[str, Any], settings: Settings) -> None:
    stored = read_quantization(config)
    if stored is not None and stored.matches(settings.bits, settings.group_size):
        return
    if settings.group_size not in GROUPS:
        allowed = ", ".join(map(str, GROUPS))
        raise EstimateError("group_size", settings.group_size, allowed)


def _check_fields(config: Mapping[str, Any]) -> None:
    """Refuse an unknown architecture and missing fields."""
    kind = config["model_type"]
    try:
        _, arguments = architecture.classes(config)
    except (ValueError, AttributeError) as error:
        installation.require_import(kind, error.__cause__)
        # An AttributeError is a module of mlx_lm that holds no architecture, such as `base`.
        names = {module.name for module in pkgutil.iter_modules(models.__path__)}
        known = sorted(names - {kind})
        close = difflib.get_close_matches(str(kind), known) or ["qwen2", "llama", "gemma2"]
        raise EstimateError(
            "model_type", kind, f"an architecture of mlx_lm, such as {', '.join(close)}"
        ) from error
    for name, parameter in inspect.signature(arguments).parameters.items():
        absent = name not in config or (name in SIZES and config[name] is None)
        required = parameter.default is inspect.Parameter.empty
        if required and absent and not (name == TEXT and _takes_flat(arguments)):
            raise EstimateError(name, None, f"a value; a {kind} model cannot be built without it")


def _takes_flat(arguments: Any) -> bool:
    """Return whether arguments read a config without `text_config` themselves."""
    own, common = arguments.from_dict, BaseModelArgs.from_dict
    return getattr(own, "__func__", own) is not getattr(common, "__func__", common)


def _check_heads(config: Mapping[str, Any]) -> None:
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    keys = config.get("num_key_value_heads")
    if hidden and heads and not config.get("head_dim") and hidden % heads:
        raise EstimateError(
            "num_attention_heads", heads, f"a divisor of hidden_size {hidden}, or set head_dim"
        )
    if heads and keys and heads % keys:
        raise EstimateError(
            "num_key_value_heads", keys, f"a divisor of num_attention_heads {heads}"
        )


def _check_cache(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a quantized cache where a head does not fill complete groups."""
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    width = config.get("head_dim") or (hidden // heads if hidden and heads else None)
    if settings.quantizes_cache and width and width % generation.KV_GROUP:
        groups = f"the cache is quantized in groups of {generation.KV_GROUP}"
        raise EstimateError(
            "kv_bits", settings.kv_bits, f"none: {groups}, which do not divide head_dim {width}"
        )


def _check_length(config: Mapping[str, Any], settings: Settings) -> None:
    positions = config.get("max_position_embeddings")
    if positions is None:
        return
    if settings.inference:
        name, value = "prompt_tokens", settings.prompt_tokens + settings.generate_tokens
        name += " and generate_tokens"
    else:
        name, value = "max_seq_length", settings.max_seq_length
    if value > positions:
        raise EstimateError(name, value, f"at most max_position_embeddings {positions}")
