"""The model of a config and the traced steps of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlx_lm.utils import get_total_parameters

from mlx_preflight.core.errors import UntraceableError
from mlx_preflight.memory import architecture, installation, quantization, validation
from mlx_preflight.memory.replay import generation, rules, sequential, trace, trees
from mlx_preflight.memory.replay.simulation import Step
from mlx_preflight.memory.settings import QUANTIZED_START, Settings

CONTINUED = (
    "{} blocks compute one token after the other: traced over {} tokens and continued to all of "
    "them, so the interval is wider"
)
"""Warning of a run whose loops over tokens were cut short."""

PAGES = rules.REUSE_PAGES * rules.CPU_PAGE
"""Bytes by which a reused buffer may be too large."""


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A model's numbers and its traced steps.

    Attributes:
        steps: Evaluations that can have the highest peak.
        longer: The same with longer loops, where loops over tokens were cut short.
        parameters: Parameters without adapters.
        trainable_parameters: Parameters of the adapters.
        trained_shapes: Shapes of the arrays of the adapters.
        weight_bytes: Bytes of the frozen weights.
        vocabulary: Width of the logits.
        reusable_bytes: Bytes by which the buffers of adapters and two moments may be too large.
        warnings: What was left out, and what the settings do not apply to.
    """

    steps: list[Step]
    longer: list[Step] | None
    parameters: int
    trainable_parameters: int
    trained_shapes: set[tuple[int, ...]]
    weight_bytes: int
    vocabulary: int
    reusable_bytes: int
    warnings: tuple[str, ...]


Trace = Callable[[Any, Settings], list[Step]]
"""Traces the steps of a run of a lazy model."""


def build(config: Mapping[str, Any], settings: Settings, run: Trace | None = None) -> TracedRun:
    """Build a model without evaluating it and trace its run.

    Args:
        config: The model's config.json.
        settings: The run.
        run: What is traced; None for the training or the generation.

    Raises:
        EstimateError: mlx_lm refuses the config, or a key names no module.
        UntraceableError: The graph cannot be exported.
    """
    run = run or (generation.steps if settings.inference else trace.training)
    plain = replace(settings, bits=None)
    model = validation.built(lambda: architecture.build(config, plain), config)
    warnings = [
        *_left_out(config, settings),
        *validation.check_quantization(model, config, settings),
    ]
    quantization.quantize(model, config, settings)
    met = sequential.Loops(1)
    with sequential.shortened(met), sequential.over(1):
        vocabulary = validation.built(lambda: architecture.vocabulary(model), config)
    tokens = settings.row_tokens
    if settings.inference:
        tokens = min(settings.prompt_tokens, generation.PREFILL_TOKENS)
    short, long = sequential.lengths(met.count, tokens)
    parameters = int(get_total_parameters(model))
    weight_bytes = sum(array.nbytes for array in trees.leaves(model.parameters()))
    trained: list[Any] = []
    if not settings.inference:
        validation.check_adapters(model, settings)
        validation.built(lambda: architecture.adapt(model, settings), config)
        trained = list(trees.leaves(model.trainable_parameters()))
    loops = sequential.Loops(short)
    steps = _traced(run, model, config, settings, loops)
    longer = None
    if loops.cut:
        longer = _traced(run, model, config, settings, sequential.Loops(long))
        warnings.append(CONTINUED.format(met.count, long))
    return TracedRun(
        steps=steps,
        longer=longer,
        parameters=parameters,
        trainable_parameters=sum(array.size for array in trained),
        trained_shapes={tuple(array.shape) for array in trained},
        weight_bytes=weight_bytes,
        vocabulary=vocabulary,
        reusable_bytes=3 * sum(min(array.nbytes, PAGES) for array in trained),
        warnings=tuple(warnings),
    )


def _traced(
    run: Trace, model: Any, config: Mapping[str, Any], settings: Settings, loops: sequential.Loops
) -> list[Step]:
    """Trace the steps with loops over some tokens.

    Raises:
        UntraceableError: MLX cannot export a primitive.
    """
    try:
        with sequential.shortened(loops):
            steps = list(run(model, settings))
    except installation.RAISED as error:
        raise _untraceable(error, config) from error
    return [replace(step, loops=min(loops.most, step.queries)) for step in steps]


def _untraceable(error: Exception, config: Mapping[str, Any]) -> UntraceableError:
    """Return an error that says what in the trace of a model that can be built failed."""
    kind, said = config["model_type"], str(error)
    if installation.UNEXPORTABLE in said:
        primitive = said.rsplit(" ", 1)[-1]
        return UntraceableError(
            f"model_type {kind!r} runs {primitive}, which MLX cannot export",
            hint="measure instead",
        )
    first = (said.splitlines() or ["an assertion"])[0]
    if any(part in first for part in installation.NO_GRADIENT):
        return installation.untrainable(kind, first)
    return UntraceableError(
        f"a step of model_type {kind!r} cannot be traced: {type(error).__name__}: {first} "
        f"({installation.pair()})",
        hint=f"measure instead; if that fails in the same way, {installation.OTHER_PAIR}",
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
