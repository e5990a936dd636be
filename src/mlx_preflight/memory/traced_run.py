"""The model of a config and the traced steps of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlx_lm.utils import get_total_parameters

from mlx_preflight.core.errors import UntraceableError
from mlx_preflight.memory import architecture, installation, quantization, validation
from mlx_preflight.memory.replay import generation, rules, trace, trees
from mlx_preflight.memory.replay.simulation import Step
from mlx_preflight.memory.settings import QUANTIZED_START, Settings

WITHOUT_EXPERTS = (
    "the adapters of the experts are added by their size and their gradients' temporaries are "
    "not counted: the interval is wider"
)

PAGES = rules.REUSE_PAGES * rules.CPU_PAGE
"""Bytes by which a reused buffer may be too large."""

EXPERTS = "SegmentedMM"
"""Primitive of the gradient of experts with adapters."""


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A model's numbers and its traced steps.

    Attributes:
        steps: Evaluations that can have the highest peak.
        parameters: Parameters without adapters.
        trainable_parameters: Parameters of the adapters.
        trained_shapes: Shapes of the arrays of the adapters.
        weight_bytes: Bytes of the frozen weights.
        vocabulary: Width of the logits.
        untraced_bytes: Bytes of adapters, their gradients and optimizer state that are not in
            the steps.
        reusable_bytes: Bytes by which the buffers of adapters and two moments may be too large.
        warnings: What was left out, and what the settings do not apply to.
    """

    steps: list[Step]
    parameters: int
    trainable_parameters: int
    trained_shapes: set[tuple[int, ...]]
    weight_bytes: int
    vocabulary: int
    untraced_bytes: int
    reusable_bytes: int
    warnings: tuple[str, ...]


Trace = Callable[[Any, Settings], list[Step]]
"""Traces the steps of a run of a lazy model."""


def build(config: Mapping[str, Any], settings: Settings, run: Trace | None = None) -> TracedRun:
    """Build a model without evaluating it and trace its run.

    A mixture of experts whose experts get adapters has a gradient that MLX cannot export
    (`SegmentedMM`); its run is traced without these adapters, which are added by size.

    Args:
        config: The model's config.json.
        settings: The run.
        run: What is traced; None for the training or the generation.

    Raises:
        EstimateError: mlx_lm refuses the config, or a key names no module.
        UntraceableError: The graph cannot be exported.
    """
    run = run or (generation.steps if settings.inference else trace.training)
    try:
        return _build(config, settings, run)
    except UntraceableError as error:
        if run in (generation.steps, trace.validation):
            raise
        plain = _adaptable(config, settings, experts=False)
        whole = _adaptable(config, settings, experts=True)
        kept = tuple(name for name in settings.keys or sorted(plain) if name in plain)
        if not kept or plain == whole:
            raise
        partial = _build(config, replace(settings, keys=kept), run)
        trainable, nbytes = _trainable(config, settings)
        missing = nbytes - _trainable(config, replace(settings, keys=kept))[1]
        # Adapters, one gradient each, and at most two moments.
        return replace(
            partial,
            trainable_parameters=trainable,
            untraced_bytes=4 * missing,
            warnings=(*partial.warnings, f"{error}; {WITHOUT_EXPERTS}"),
        )


def _build(config: Mapping[str, Any], settings: Settings, run: Trace) -> TracedRun:
    plain = replace(settings, bits=None)
    model = validation.built(lambda: architecture.build(config, plain), config)
    warnings = [
        *_left_out(config, settings),
        *validation.check_quantization(model, config, settings),
    ]
    quantization.quantize(model, config, settings)
    vocabulary = validation.built(lambda: architecture.vocabulary(model), config)
    parameters = int(get_total_parameters(model))
    weight_bytes = sum(array.nbytes for array in trees.leaves(model.parameters()))
    trained: list[Any] = []
    if not settings.inference:
        validation.check_adapters(model, settings)
        validation.built(lambda: architecture.adapt(model, settings), config)
        trained = list(trees.leaves(model.trainable_parameters()))
    try:
        steps = validation.built(lambda: run(model, settings), config)
    except Exception as error:
        cause = str(error.__cause__ or error)
        if installation.UNEXPORTABLE not in cause:
            raise
        primitive = cause.rsplit(" ", 1)[-1]
        raise UntraceableError(
            f"model_type {config['model_type']!r} runs {primitive}, which MLX cannot export",
            hint="measure instead"
            + ", or leave the experts out of the LoRA keys" * (primitive == EXPERTS),
        ) from error
    return TracedRun(
        steps=steps,
        parameters=parameters,
        trainable_parameters=sum(array.size for array in trained),
        trained_shapes={tuple(array.shape) for array in trained},
        weight_bytes=weight_bytes,
        vocabulary=vocabulary,
        untraced_bytes=0,
        reusable_bytes=3 * sum(min(array.nbytes, PAGES) for array in trained),
        warnings=tuple(warnings),
    )


def _left_out(config: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield what mlx_lm does not load of the model, or does not do of the settings."""
    parts = [name for name in ("vision_config", "audio_config") if config.get(name)]
    if parts:
        yield f"{' and '.join(parts)}: left out, as mlx_lm loads the language model alone"
    if settings.inference and settings.kv_bits and not settings.quantizes_cache:
        least = f"more than {QUANTIZED_START} tokens"
        yield f"kv_bits changes nothing: mlx_lm quantizes a cache of {least}"


def check(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse settings that a model of this config cannot be trained with; nothing is traced.

    Raises:
        EstimateError: A field of the config or a setting that cannot be.
    """
    validation.check_settings(settings)
    validation.check_config(config, settings)
    plain = replace(settings, bits=None)
    model = validation.built(lambda: architecture.build(config, plain), config)
    validation.check_quantization(model, config, settings)
    validation.check_adapters(model, settings)


def _adaptable(config: Mapping[str, Any], settings: Settings, *, experts: bool) -> set[str]:
    """Return the modules of the blocks that can have adapters."""
    model = architecture.build(config, replace(settings, bits=None))
    modules = (pair for layer in model.layers for pair in layer.named_modules())
    return {name for name, module in modules if architecture.adaptable(module, experts=experts)}


def _trainable(config: Mapping[str, Any], settings: Settings) -> tuple[int, int]:
    """Return the number of trained parameters and their bytes."""
    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    arrays = list(trees.leaves(model.trainable_parameters()))
    return sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
