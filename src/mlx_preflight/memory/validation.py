"""Refuse settings and configs from which no estimate can be made, by name and value."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from mlx_preflight.errors import EstimateError
from mlx_preflight.memory import architecture
from mlx_preflight.memory.settings import Settings

BITS = (2, 3, 4, 5, 6, 8)
"""Widths of `mx.quantize` in affine mode (mlx/ops.cpp 0.32)."""

GROUPS = (32, 64, 128)
"""Group sizes of the same."""

CHOICES: dict[str, tuple[object, ...]] = {
    "bits": (None, *BITS),
    "kv_bits": (None, *BITS),
    "group_size": GROUPS,
    "dtype": ("bfloat16", "float16", "float32"),
    "optimizer": tuple(architecture.OPTIMIZERS),
    "backend": ("metal", "cpu", "cuda"),
}

LEAST = {
    "batch_size": 1,
    "max_seq_length": 2,
    "rank": 1,
    "grad_accumulation_steps": 1,
    "prompt_tokens": 1,
    "generate_tokens": 0,
}
"""Smallest values; a row of one token has no target."""

COUNTS = (
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
"""Config fields that are positive integers wherever they appear."""


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
    for name, least in LEAST.items():
        value = getattr(settings, name)
        if not _is_integer(value) or value < least:
            raise EstimateError(name, value, f"an integer of at least {least}")
    if not _is_integer(settings.num_layers) or settings.num_layers < -1:
        raise EstimateError("num_layers", settings.num_layers, "-1 for all blocks, or a count")
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
    inner = {**config, **config.get("text_config", {})}
    for name in COUNTS:
        value = inner.get(name)
        if value is not None and (not _is_integer(value) or value < 1):
            raise EstimateError(name, value, "a positive integer")
    _check_fields(config)
    _check_heads(inner)
    _check_length(inner, settings)


def _check_fields(config: Mapping[str, Any]) -> None:
    """Refuse an unknown architecture and missing fields."""
    from mlx_lm import models  # noqa: PLC0415
    from mlx_lm.utils import _get_classes  # noqa: PLC0415  (the only place of the name table)

    kind = config["model_type"]
    try:
        _, arguments = _get_classes(dict(config))
    except ValueError as error:
        known = sorted(module.name for module in pkgutil.iter_modules(models.__path__))
        close = difflib.get_close_matches(str(kind), known) or ["qwen2", "llama", "gemma2"]
        raise EstimateError(
            "model_type", kind, f"an architecture of mlx_lm, such as {', '.join(close)}"
        ) from error
    for name, parameter in inspect.signature(arguments).parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in config:
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


def check_quantization(model: Any, settings: Settings) -> list[str]:
    """Name the layers that the group size leaves unquantized, as `mlx_lm.convert` does.

    Raises:
        EstimateError: It leaves all of them.
    """
    if not settings.bits:
        return []
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
    return [
        f"group_size is {settings.group_size}, which does not divide width {width} of {path} and "
        "layers like it: they stay unquantized"
        for width, path in odd.items()
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
    names = {name for layer in model.layers for name, _ in layer.named_modules() if name}
    names |= {name for name, _ in model.named_modules() if name}
    for key in settings.keys:
        if key not in names:
            close = difflib.get_close_matches(key, sorted(names), n=4, cutoff=0.4)
            allowed = ", ".join(close) or ", ".join(sorted(names)[:8])
            raise EstimateError("keys", key, f"modules of a block, such as {allowed}")


def built(make: Callable[[], Any], config: Mapping[str, Any]) -> Any:
    """Return what `make` builds, and a clear message when mlx_lm refuses the config.

    Raises:
        EstimateError: The config contradicts itself in a way that only its model knows.
    """
    try:
        return make()
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ZeroDivisionError,
    ) as error:
        raise EstimateError(
            "config.json",
            config["model_type"],
            f"fields that agree; mlx_lm cannot run this one: {type(error).__name__}: {error}",
        ) from error
