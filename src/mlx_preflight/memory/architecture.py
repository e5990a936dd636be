"""Build an mlx_lm model on lazy arrays from a config alone, quantized and with adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_preflight.memory import quantization
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
    from mlx_lm.utils import _get_classes  # noqa: PLC0415

    model_class, args_class = _get_classes(dict(config))
    model = model_class(args_class.from_dict(dict(config)))
    if config.get("tie_word_embeddings") and getattr(model, "tie_word_embeddings", None) is False:
        # mlx_lm/models/gemma3_text.py ties the head when it loads weights without one.
        model.tie_word_embeddings = True
        model.pop("lm_head")
    cast(model, settings)
    quantization.quantize(model, config, settings)
    return model


def cast(model: Any, settings: Settings) -> None:
    """Give everything that is a floating number the type of the settings."""
    import mlx.core as mx  # noqa: PLC0415
    from mlx.utils import tree_map  # noqa: PLC0415

    dtype = getattr(mx, settings.dtype)

    def changed(array: Any) -> Any:
        return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array

    model.update(tree_map(changed, model.parameters()))


def adapt(model: Any, settings: Settings) -> None:
    """Freeze the model and add adapters, as `train_model` of mlx_lm/lora.py does."""
    from mlx_lm.tuner.utils import linear_to_lora_layers  # noqa: PLC0415

    model.freeze()
    parameters: dict[str, Any] = {"rank": settings.rank, "scale": LORA_SCALE, "dropout": 0.0}
    if settings.keys is not None:
        parameters["keys"] = list(settings.keys)
    linear_to_lora_layers(model, settings.num_layers, parameters)
    model.train()


def adaptable(module: Any, *, experts: bool = True) -> bool:
    """Return whether a module can have adapters (mlx_lm/tuner/utils.py 0.32).

    Args:
        module: Part of a model, quantized or not.
        experts: Whether the layers of a mixture of experts count.
    """
    from mlx import nn  # noqa: PLC0415
    from mlx_lm.models import switch_layers  # noqa: PLC0415

    kinds = [nn.Linear, nn.QuantizedLinear, nn.Embedding, nn.QuantizedEmbedding]
    if experts:
        kinds += [switch_layers.SwitchLinear, switch_layers.QuantizedSwitchLinear]
    return isinstance(module, tuple(kinds)) or hasattr(module, "to_lora")


def optimizer(model: Any, settings: Settings, *, initialised: bool = True) -> Any:
    """Return the optimizer with its state for the trainable parameters."""
    from mlx import optimizers  # noqa: PLC0415

    made = getattr(optimizers, OPTIMIZERS[settings.optimizer])(learning_rate=1e-5)
    if initialised:
        made.init(model.trainable_parameters())
    return made


def vocabulary(model: Any) -> int:
    """Return the width of the logits, which a config need not hold; nothing is evaluated."""
    import mlx.core as mx  # noqa: PLC0415

    return int(model(mx.zeros((1, 1), mx.int32)).shape[-1])
