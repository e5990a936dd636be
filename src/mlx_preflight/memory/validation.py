"""Validation of settings and configs; a refusal names field, value and what is allowed."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from mlx_lm import models
from mlx_lm.utils import _get_classes

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import architecture, installation, quantization
from mlx_preflight.memory.replay import generation
from mlx_preflight.memory.settings import OPTIMIZERS, Settings
from mlx_preflight.models.quantization import BITS, GROUPS, read_quantization

CHOICES: dict[str, tuple[object, ...]] = {
    "bits": (None, *BITS),
    "kv_bits": (None, *BITS),
    "dtype": ("bfloat16", "float16", "float32"),
    "optimizer": tuple(OPTIMIZERS),
    "fine_tune_type": ("lora", "dora", "full"),
    "backend": ("metal", "cpu", "cuda"),
}

TOKENS = 2**24
"""Longest row, far beyond any model's; MLX counts the elements of an axis in 31 bits."""

RANGES = {
    "batch_size": (1, 2**16),
    "max_seq_length": (2, TOKENS),
    "rank": (1, 2**16),
    "grad_accumulation_steps": (1, 2**16),
    "prompt_tokens": (1, TOKENS),
    "generate_tokens": (0, TOKENS),
}
"""Smallest and largest values; a row of one token has no target."""

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

POSITIVE = ("rms_norm_eps", "rope_theta")
"""Config fields that are numbers above zero wherever they appear."""


def check_settings(settings: Settings) -> None:
    """Refuse a value that no run can have.

    Raises:
        EstimateError: Such a value.
    """
    for name, choices in CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            allowed = [str(item) for item in choices if item is not None]
            # None is what the command line calls 16 bits, or what it is not given at all.
            allowed += ["16 for unquantized weights"] if name == "bits" else []
            raise EstimateError(name, value, ", ".join(allowed))
    for name, (least, most) in RANGES.items():
        value = getattr(settings, name)
        if not _is_integer(value) or not least <= value <= most:
            raise EstimateError(name, value, f"an integer of at least {least}, at most {most}")
    layers = settings.num_layers
    if not _is_integer(layers) or layers < -1 or layers == 0:
        # mlx_lm takes 0 as all blocks, which nobody would read in it.
        raise EstimateError("num_layers", layers, "-1 for all blocks, or a count of at least 1")
    if not 0 <= settings.dropout < 1:
        raise EstimateError("dropout", settings.dropout, "a share of at least 0, below 1")
    if settings.keys is not None and not settings.keys:
        raise EstimateError("keys", settings.keys, "None for every linear layer, or module names")


def _is_integer(value: object) -> bool:
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
        if value is not None and (not _is_integer(value) or not 1 <= value <= most):
            raise EstimateError(name, value, f"a positive integer of at most {most}")
    for name in EXPERTS:
        value = config.get(name)
        if value is not None and (not _is_integer(value) or not 0 <= value <= SIZES["vocab_size"]):
            raise EstimateError(name, value, f"an integer of 0 to {SIZES['vocab_size']}")
    for name in POSITIVE:
        value = config.get(name)
        if value is not None and (not isinstance(value, int | float) or not value > 0):
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
        _, arguments = _get_classes(dict(config))
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
        if parameter.default is inspect.Parameter.empty and absent:
            raise EstimateError(name, None, f"a value; a {kind} model cannot be built without it")


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


def check_quantization(model: Any, config: Mapping[str, Any], settings: Settings) -> list[str]:
    """Name what a reader would not expect: above all, layers that stay unquantized.

    Raises:
        EstimateError: It leaves all of them.
    """
    if not settings.bits:
        return [*quantization.warnings(model, config, settings)]
    odd: dict[int, str] = {}
    able = 0
    for path, module in model.named_modules():
        if hasattr(module, "to_quantized"):
            width = module.weight.shape[-1]
            if width % settings.group_size:
                odd.setdefault(width, path)
            else:
                able += 1
    if odd and not able:
        raise EstimateError(
            "group_size", settings.group_size, f"a divisor of the layers' widths {sorted(odd)}"
        )
    group = settings.group_size
    return [
        *quantization.warnings(model, config, settings),
        *(
            f"group_size is {group}, which does not divide width {width} of {path} and layers "
            "like it: they stay unquantized"
            for width, path in odd.items()
        ),
    ]


def check_adapters(model: Any, settings: Settings) -> None:
    """Refuse more blocks than the model has, and keys that name no module of a block.

    Raises:
        EstimateError: Such a number or key.
    """
    layers = len(model.layers)
    if settings.num_layers > layers:
        raise EstimateError(
            "num_layers", settings.num_layers, f"-1, or at most the model's {layers} layers"
        )
    if settings.keys is None:
        return
    names = {
        name
        for part in (*model.layers, model)
        for name, module in part.named_modules()
        if architecture.adaptable(module)
    }
    for key in settings.keys:
        if key not in names:
            close = difflib.get_close_matches(key, sorted(names), n=4, cutoff=0.4)
            allowed = ", ".join(close) or ", ".join(sorted(names, key=len)[:8])
            raise EstimateError("keys", key, f"layers that take adapters, such as {allowed}")


def built(make: Callable[[], Any], config: Mapping[str, Any]) -> Any:
    """Return what `make` builds, and a clear message when mlx_lm refuses the config.

    Raises:
        EstimateError: The config contradicts itself in a way that only its model knows.
    """
    try:
        return make()
    except installation.RAISED as error:
        if installation.UNEXPORTABLE in str(error.__cause__ or error):
            raise
        # The arguments that a binding lists after its first line are nobody's concern here.
        said = (str(error).splitlines() or ["an assertion"])[0]
        raise EstimateError(
            "config.json",
            config["model_type"],
            f"fields that agree; mlx_lm cannot run this one: {type(error).__name__}: {said} "
            f"({installation.pair()})",
            hint=f"correct config.json, or {installation.OTHER_PAIR}",
        ) from error
