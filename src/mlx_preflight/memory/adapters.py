"""What a run trains: counted on a lazy model that mlx_lm itself made trainable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import get_total_parameters

from mlx_preflight.memory import architecture, validation
from mlx_preflight.memory.settings import Settings, dtype_of
from mlx_preflight.models.quantization import read_quantization

MATRIX = 2
"""Dimensions from which an array is a layer's weight, not a norm or a bias."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Trainable parameters of a run.

    Attributes:
        trainable_parameters: Numbers that the optimizer changes.
        total_parameters: Numbers of the model, as mlx_lm counts quantized ones.
        nbytes: Bytes of the trainable parameters, and of each file that the run saves.
        shapes: Name → shape of each trainable array.
        layers: Blocks of the model.
    """

    trainable_parameters: int
    total_parameters: int
    nbytes: int
    shapes: Mapping[str, tuple[int, ...]]
    layers: int

    @property
    def trains_matrices(self) -> bool:
        """Return whether more than norms and biases is trained."""
        return any(len(shape) >= MATRIX for shape in self.shapes.values())

    @property
    def line(self) -> str:
        """Return the trainer's own line (`print_trainable_parameters`, mlx_lm 0.32)."""
        trainable, total = self.trainable_parameters / 1e6, self.total_parameters / 1e6
        share = trainable * 100 / total
        return f"Trainable parameters: {share:.3f}% ({trainable:.3f}M/{total:.3f}M)"


def stored(config: Mapping[str, Any], **changes: Any) -> Settings:
    """Return settings with bits, groups and dtype as a model's config says it is stored."""
    quantization = read_quantization(config)
    own = (
        {"bits": None}
        if quantization is None
        else {
            "bits": quantization.bits,
            "group_size": quantization.group_size,
        }
    )
    return Settings(**{"dtype": dtype_of(config), **own, **changes})


def count(
    config: Mapping[str, Any],
    *,
    num_layers: int,
    parameters: Mapping[str, Any],
    fine_tune_type: str,
) -> Adapters:
    """Count what `mlx_lm.lora` would train; nothing is evaluated.

    Args:
        config: The model's config.json.
        num_layers: As the run has it.
        parameters: `lora_parameters` of the run.
        fine_tune_type: lora, dora or full.

    Raises:
        EstimateError: A field of the config that cannot be.
        ValueError: The trainer would find no gradient of what is trained.
        Exception: What mlx_lm itself raises of the run's settings.
    """
    settings = stored(config, max_seq_length=2)  # the shortest: no row counts here
    validation.check_config(config, settings)
    model = validation.built(lambda: architecture.build(config, settings), config)
    total, layers = int(get_total_parameters(model)), len(model.layers)
    if num_layers > layers:
        # The trainer's own check (mlx_lm/lora.py 0.32, `train_model`).
        raise ValueError(f"num_layers is {num_layers}, and the model has {layers} blocks")
    architecture.make_trainable(model, num_layers, parameters, fine_tune_type)
    arrays = dict(tree_flatten(model.trainable_parameters()))
    for name, array in arrays.items():
        if not mx.issubdtype(array.dtype, mx.floating):
            # `unfreeze` of a block (mlx 0.32) unfreezes what its quantized layers froze.
            raise ValueError(
                f"fine_tune_type {fine_tune_type} unfreezes {name}, which is quantized: the first "
                "step ends, as it has no gradient"
            )
    return Adapters(
        trainable_parameters=sum(array.size for array in arrays.values()),
        total_parameters=int(get_total_parameters(model)) if arrays else total,
        nbytes=sum(array.nbytes for array in arrays.values()),
        shapes={name: tuple(array.shape) for name, array in arrays.items()},
        layers=layers,
    )
