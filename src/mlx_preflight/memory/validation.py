"""Validation of settings and of models; a refusal names field, value and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import architecture, config_fields, installation, methods, quantization
from mlx_preflight.memory.settings import OPTIMIZERS, Settings
from mlx_preflight.models.quantization import BITS

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


def check_settings(settings: Settings) -> None:
    """Refuse a value that no run can have.

    Raises:
        EstimateError: Such a value.
    """
    methods.refuse("fine_tune_type", settings.fine_tune_type)
    for name, choices in CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            allowed = [str(item) for item in choices if item is not None]
            # None is what the command line calls 16 bits, or what it is not given at all.
            allowed += ["16 for unquantized weights"] if name == "bits" else []
            raise EstimateError(name, value, ", ".join(allowed))
    for name, (least, most) in RANGES.items():
        value = getattr(settings, name)
        if not config_fields.is_integer(value) or not least <= value <= most:
            raise EstimateError(name, value, f"an integer of at least {least}, at most {most}")
    layers = settings.num_layers
    if not config_fields.is_integer(layers) or layers < -1 or layers == 0:
        # mlx_lm takes 0 as all blocks, which nobody would read in it.
        raise EstimateError("num_layers", layers, "-1 for all blocks, or a count of at least 1")
    if not 0 <= settings.dropout < 1:
        raise EstimateError("dropout", settings.dropout, "a share of at least 0, below 1")
    if settings.fine_tune_type == "full" and settings.bits and not settings.inference:
        words = "16 with fine_tune_type full: quantized weights have no gradient"
        raise EstimateError("bits", settings.bits, words)
    if settings.keys is not None and not settings.keys:
        raise EstimateError("keys", settings.keys, "None for every linear layer, or module names")


check_config = config_fields.check_config


def check_quantization(model: Any, config: Mapping[str, Any], settings: Settings) -> list[str]:
    """Name what a reader would not expect: above all, layers that stay unquantized.

    Raises:
        EstimateError: It leaves all of them.
    """
    quantization.check_fp8(model, config)
    _check_reserved(model, config)
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


def _check_reserved(model: Any, config: Mapping[str, Any]) -> None:
    """Refuse a vocabulary without the tokens that the model's own code writes to.

    mlx_lm/models/phi3small.py (0.32) sets the logits of reserved tokens; MLX checks no index, so
    a step of a model with fewer tokens writes beyond them and dies by signal 11.
    """
    reserved = getattr(model, "_dummy_tokenizer_ids", None)
    if reserved is None:
        return
    least, tokens = int(reserved.max()) + 1, config.get("vocab_size")
    if isinstance(tokens, int) and tokens < least:
        allowed = f"at least {least}: {config['model_type']} writes to logits up to that token"
        raise EstimateError("vocab_size", tokens, allowed)


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


MISSING = re.compile(r"(?:Args|Config)\.__init__\(\) missing .* arguments?: '(\w+)'")
"""Message of Python for fields that the arguments of a model inside of another one demand."""


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
        if installation.METAL_ONLY in said:
            raise installation.metal_only(str(config["model_type"])) from error
        if any(part in said for part in installation.NO_GRADIENT):
            raise installation.untrainable(str(config["model_type"]), said) from error
        if missing := MISSING.search(said):
            allowed = f"a value; a {config['model_type']} model cannot be built without it"
            raise EstimateError(missing[1], None, allowed) from error
        raise EstimateError(
            "config.json",
            config["model_type"],
            f"fields that agree; mlx_lm cannot run this one: {type(error).__name__}: {said} "
            f"({installation.pair()})",
            hint=f"correct config.json, or {installation.OTHER_PAIR}",
        ) from error
