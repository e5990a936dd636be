"""An mlx_lm model on lazy arrays from a config alone, quantized and with adapters."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mlx.core as mx
from mlx import nn, optimizers
from mlx.utils import tree_map
from mlx_lm.models import switch_layers
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import _get_classes

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import installation, quantization
from mlx_preflight.memory.settings import LORA_SCALE, OPTIMIZERS, Settings


def classes(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the classes of a model and of its arguments.

    Raises:
        ValueError: mlx_lm has no such architecture.
        InstallationError: Its file ends the process where a package is missing, as `olmo` does.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            found: tuple[Any, Any] = _get_classes(dict(config))
    except SystemExit as error:
        raise installation.ended(config["model_type"], printed.getvalue()) from error
    return found


def build(config: Mapping[str, Any], settings: Settings) -> Any:
    """Return the model as `mlx_lm` would load it, without evaluating anything."""
    model_class, args_class = classes(config)
    # A model of text and images writes into its `text_config` (gemma3.py 0.32, `__post_init__`).
    model = model_class(args_class.from_dict(copy.deepcopy(dict(config))))
    if config.get("tie_word_embeddings") and getattr(model, "tie_word_embeddings", None) is False:
        # mlx_lm/models/gemma3_text.py ties the head when it loads weights without one.
        model.tie_word_embeddings = True
        model.pop("lm_head")
    cast(model, settings)
    quantization.quantize(model, config, settings)
    return model


def cast(model: Any, settings: Settings) -> None:
    """Give everything that is a floating number the type of the settings."""
    dtype = getattr(mx, settings.dtype)

    def changed(array: Any) -> Any:
        return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array

    model.update(tree_map(changed, model.parameters()))


def adapt(model: Any, settings: Settings) -> None:
    """Freeze the model and add adapters, and set it to training."""
    parameters: dict[str, Any] = {
        "rank": settings.rank,
        "scale": LORA_SCALE,
        "dropout": settings.dropout,
    }
    if settings.keys is not None:
        parameters["keys"] = list(settings.keys)
    try:
        make_trainable(model, settings.num_layers, parameters, settings.fine_tune_type)
    except ValueError as error:  # (DoRA of experts; a key of a layer that takes no adapter)
        kind = settings.fine_tune_type
        allowed = f"another one, or other keys: mlx_lm makes no such adapters ({error})"
        raise EstimateError("fine_tune_type", kind, allowed) from error
    model.train()


def make_trainable(
    model: Any, num_layers: int, parameters: Mapping[str, Any], fine_tune_type: str
) -> None:
    """Freeze what is not trained, as `train_model` of mlx_lm/lora.py (0.32) does.

    Args:
        model: An mlx_lm model without adapters.
        num_layers: Blocks from the last one; -1 and 0 for all.
        parameters: `lora_parameters` of the run.
        fine_tune_type: lora, dora or full.
    """
    model.freeze()
    if fine_tune_type == "full":
        for layer in model.layers[-max(num_layers, 0) :]:
            layer.unfreeze()
    else:
        dora = fine_tune_type == "dora"
        linear_to_lora_layers(model, num_layers, dict(parameters), use_dora=dora)


def adaptable(module: Any, *, experts: bool = True) -> bool:
    """Return whether a module can have adapters (mlx_lm/tuner/utils.py 0.32).

    Args:
        module: Part of a model, quantized or not.
        experts: Whether the layers of a mixture of experts count.
    """
    kinds = [nn.Linear, nn.QuantizedLinear, nn.Embedding, nn.QuantizedEmbedding]
    if experts:
        kinds += [switch_layers.SwitchLinear, switch_layers.QuantizedSwitchLinear]
    return isinstance(module, tuple(kinds)) or hasattr(module, "to_lora")


def attention_keys(config: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """Return the modules of the attention that can have adapters, by their path in a block.

    Empty where no module of a block is named as attention.
    """
    model = build(config, replace(settings, bits=None))
    names = {
        name
        for layer in model.layers
        for name, module in layer.named_modules()
        if adaptable(module, experts=False) and ("attn" in name or "attention" in name)
    }
    return tuple(sorted(names))


def may_have_experts(config: Mapping[str, Any]) -> bool:
    """Return whether a field of a config is about experts, as that of every model with them is."""
    parts = (config, config.get("text_config") or {})
    return any("expert" in name or "moe" in name for part in parts for name in part)


def optimizer(model: Any, settings: Settings, *, initialised: bool = True) -> Any:
    """Return the optimizer with its state for the trainable parameters."""
    made = getattr(optimizers, OPTIMIZERS[settings.optimizer])(learning_rate=1e-5)
    if initialised:
        made.init(model.trainable_parameters())
    return made


def vocabulary(model: Any) -> int:
    """Return the width of the logits, which a config need not hold; nothing is evaluated."""
    return int(model(mx.zeros((1, 1), mx.int32)).shape[-1])
