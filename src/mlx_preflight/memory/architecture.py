"""Build an mlx_lm model on lazy arrays from a config alone, quantized and with adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_preflight.memory.settings import Settings

OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "adafactor": "Adafactor",
    "muon": "Muon",
}
"""Optimizers of `mlx_lm.lora` and their classes in mlx.optimizers."""

LORA_SCALE = 20.0
"""`mlx_lm.lora`'s default; it changes no shape."""


def build(config: Mapping[str, Any], settings: Settings) -> Any:
    """Return the model as `mlx_lm` would load it, without evaluating anything."""
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.utils import _get_classes  # noqa: PLC0415

    model_class, args_class = _get_classes(dict(config))
    model = model_class(args_class.from_dict(dict(config)))
    if config.get("tie_word_embeddings") and getattr(model, "tie_word_embeddings", None) is False:
        # mlx_lm/models/gemma3_text.py ties the head when it loads weights without one.
        model.tie_word_embeddings = True
        model.pop("lm_head")
    dtype = getattr(mx, settings.dtype)
    model.update(_cast(model.parameters(), dtype))
    if settings.bits:
        quantize(model, settings)
    return model


def _cast(parameters: Any, dtype: Any) -> Any:
    import mlx.core as mx  # noqa: PLC0415
    from mlx.utils import tree_map  # noqa: PLC0415

    def cast(array: Any) -> Any:
        return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array

    return tree_map(cast, parameters)


def quantize(model: Any, settings: Settings) -> None:
    """Quantize as `mlx_lm.convert` does: every layer that can be and whose width fits."""
    from mlx import nn  # noqa: PLC0415

    own = getattr(model, "quant_predicate", None)

    def wanted(path: str, module: Any) -> Any:
        if not hasattr(module, "to_quantized"):
            return False
        if module.weight.shape[-1] % settings.group_size:
            return False
        return own(path, module) if own is not None else True

    nn.quantize(model, settings.group_size, settings.bits, class_predicate=wanted)


def adapt(model: Any, settings: Settings) -> None:
    """Freeze the model and add adapters, as `train_model` of mlx_lm/lora.py does."""
    from mlx_lm.tuner.utils import linear_to_lora_layers  # noqa: PLC0415

    model.freeze()
    parameters: dict[str, Any] = {"rank": settings.rank, "scale": LORA_SCALE, "dropout": 0.0}
    if settings.keys is not None:
        parameters["keys"] = list(settings.keys)
    linear_to_lora_layers(model, settings.num_layers, parameters)
    model.train()


def optimizer(model: Any, settings: Settings, *, initialised: bool = True) -> Any:
    """Return the optimizer with its state for the trainable parameters."""
    from mlx import optimizers  # noqa: PLC0415

    made = getattr(optimizers, OPTIMIZERS[settings.optimizer])(learning_rate=1e-5)
    if initialised:
        made.init(model.trainable_parameters())
    return made


def vocabulary(config: Mapping[str, Any]) -> int:
    """Return the width of the logits; multimodal configs keep it in `text_config`."""
    return int({**config.get("text_config", {}), **config}["vocab_size"])
