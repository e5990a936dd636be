"""Build the model of a config and trace the steps of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.errors import UntraceableError
from mlx_preflight.memory import architecture, generation, trace, validation
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.simulation import Step

WITHOUT_EXPERTS = (
    "the adapters of the experts are added by their size and their gradients' temporaries are "
    "not counted: the interval is wider"
)

UNEXPORTABLE = "Unable to get state for primitive"
"""Message of mlx/export.cpp (0.32) for a primitive that cannot be exported."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Hold a model's numbers and its traced steps.

    Attributes:
        steps: Evaluations that can have the highest peak.
        parameters: Parameters without adapters.
        trainable_parameters: Parameters of the adapters.
        trained_shapes: Shapes of the arrays of the adapters.
        weight_bytes: Bytes of the frozen weights.
        untraced_bytes: Bytes of adapters, their gradients and optimizer state that are not in
            the steps.
        warnings: What was left out, and what the settings do not apply to.
    """

    steps: list[Step]
    parameters: int
    trainable_parameters: int
    trained_shapes: set[tuple[int, ...]]
    weight_bytes: int
    untraced_bytes: int
    warnings: tuple[str, ...]


def build(config: Mapping[str, Any], settings: Settings) -> Subject:
    """Build a model without evaluating it and trace its run.

    A mixture of experts whose experts get adapters has a gradient that MLX cannot export
    (`SegmentedMM`); its run is traced without these adapters, which are added by size.

    Raises:
        EstimateError: mlx_lm refuses the config, or a key names no module.
        UntraceableError: The graph cannot be exported.
    """
    try:
        return _build(config, settings)
    except UntraceableError as error:
        if settings.inference:
            raise
        plain = _adaptable(config, settings, experts=False)
        whole = _adaptable(config, settings, experts=True)
        kept = tuple(name for name in settings.keys or sorted(plain) if name in plain)
        if not kept or plain == whole:
            raise
        partial = _build(config, replace(settings, keys=kept))
        trainable, nbytes = _trainable(config, settings)
        missing = nbytes - _trainable(config, replace(settings, keys=kept))[1]
        # Adapters, one gradient each, and at most two moments.
        return replace(
            partial,
            trainable_parameters=trainable,
            untraced_bytes=4 * missing,
            warnings=(*partial.warnings, f"{error}; {WITHOUT_EXPERTS}"),
        )


def _build(config: Mapping[str, Any], settings: Settings) -> Subject:
    from mlx_lm.utils import get_total_parameters  # noqa: PLC0415

    plain = replace(settings, bits=None)
    model = validation.built(lambda: architecture.build(config, plain), config)
    warnings = validation.check_quantization(model, settings)
    if settings.bits:
        architecture.quantize(model, settings)
    parameters = int(get_total_parameters(model))
    weight_bytes = sum(array.nbytes for array in trace.leaves(model.parameters()))
    trained: list[Any] = []
    if not settings.inference:
        validation.check_adapters(model, settings)
        architecture.adapt(model, settings)
        trained = list(trace.leaves(model.trainable_parameters()))
    run = generation.steps if settings.inference else trace.training
    try:
        steps = validation.built(lambda: run(model, settings), config)
    except Exception as error:
        cause = str(error.__cause__ or error)
        if UNEXPORTABLE not in cause:
            raise
        primitive = cause.rsplit(" ", 1)[-1]
        raise UntraceableError(
            f"model_type {config['model_type']!r} runs {primitive}, which MLX cannot export",
            hint="leave the experts out of the LoRA keys, or measure instead",
        ) from error
    return Subject(
        steps=steps,
        parameters=parameters,
        trainable_parameters=sum(array.size for array in trained),
        trained_shapes={tuple(array.shape) for array in trained},
        weight_bytes=weight_bytes,
        untraced_bytes=0,
        warnings=tuple(warnings),
    )


def check(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse settings that a model of this config cannot be trained with; nothing is traced.

    Raises:
        EstimateError: A field of the config or a setting that cannot be.
    """
    validation.check_settings(settings)
    validation.check_config(config, settings)
    plain = replace(settings, bits=None)
    model = validation.built(lambda: architecture.build(config, plain), config)
    validation.check_quantization(model, settings)
    validation.check_adapters(model, settings)


def _adaptable(config: Mapping[str, Any], settings: Settings, *, experts: bool) -> set[str]:
    """Return the modules of the blocks that can have adapters."""
    from mlx import nn  # noqa: PLC0415
    from mlx_lm.models.switch_layers import SwitchLinear  # noqa: PLC0415

    kinds = (nn.Linear, nn.Embedding, SwitchLinear) if experts else (nn.Linear, nn.Embedding)
    model = architecture.build(config, replace(settings, bits=None))
    modules = (pair for layer in model.layers for pair in layer.named_modules())
    return {name for name, module in modules if isinstance(module, kinds)}


def _trainable(config: Mapping[str, Any], settings: Settings) -> tuple[int, int]:
    """Return the number of trained parameters and their bytes."""
    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    arrays = list(trace.leaves(model.trainable_parameters()))
    return sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
