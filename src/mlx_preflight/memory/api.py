"""Memory functions of the Python API: a model's name and the options of a command.

The command line reads models and options here, too, so both answer the same. Nothing here
computes memory: `predict`, `fit` and `measure` of this folder do.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args, get_type_hints

from mlx_preflight.core.errors import EstimateError, UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.memory import calibration
from mlx_preflight.memory import fit as fitting
from mlx_preflight.memory import measure as measuring
from mlx_preflight.memory import predict as predicting
from mlx_preflight.memory.fit import Search
from mlx_preflight.memory.measure import Measured
from mlx_preflight.memory.options import (
    EstimateOptions,
    FitOptions,
    LoraOptions,
    MeasureOptions,
    ignored,
)
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import Settings, dtype_of
from mlx_preflight.models import source
from mlx_preflight.models.quantization import read_quantization
from mlx_preflight.models.source import Source
from mlx_preflight.plan.options import option

UNQUANTIZED = 16
"""`bits` that leaves the weights as they are."""

MODEL = "Built-in name, config.json, folder, hub id or `embedded`."

WORDS = {int: "an integer", float: "a number", bool: "True or False", str: "text", NoneType: "None"}

P = ParamSpec("P")
Options = TypeVar("Options")
Answer = TypeVar("Answer")
Model = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FitOptions(FitOptions):
    """Options of a search, with memory in bytes instead of a command line's GB."""

    budget_bytes: int = dataclasses.field(
        metadata={"help": "Memory that the prediction's upper end may take.", "least": 1}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeasureOptions(MeasureOptions):
    """Options of a measurement, with memory in bytes instead of a command line's GB."""

    memory_limit_bytes: int | None = option(
        None, "Kill the run above this; default: 0.9 of what is free.", least=1
    )


def _takes(
    kind: Callable[P, Options],
) -> Callable[[Callable[[str, Options], Answer]], Callable[Concatenate[Model, P], Answer]]:
    """Let a function take the fields of a dataclass of options as keyword arguments."""

    def decorate(
        function: Callable[[str, Options], Answer],
    ) -> Callable[Concatenate[Model, P], Answer]:
        @functools.wraps(function)
        def call(model: Model, /, *args: P.args, **given: P.kwargs) -> Answer:
            _check(kind, function.__name__, args, given)
            path = os.fspath(model) if isinstance(model, os.PathLike) else model
            if not isinstance(path, str):
                raise UsageError(f"model is {path!r}; expected a name or a path")
            return function(path, kind(*args, **given))

        _describe(call, function, kind)
        return call

    return decorate


def _check(kind: Any, name: str, args: tuple[object, ...], given: Mapping[str, object]) -> None:
    """Refuse what the parser of a command line refuses.

    Raises:
        UsageError: An unknown name, a missing one, or a value without its name.
        EstimateError: A value of the wrong type, or below the least one.
    """
    known = {item.name: item for item in dataclasses.fields(kind)}
    if args:
        raise UsageError(f"{name}() takes one model; every option is named, as batch_size=1")
    for key, item in known.items():
        if item.default is dataclasses.MISSING and key not in given:
            raise UsageError(f"{name}() needs {key}")
    hints = get_type_hints(kind)
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{name}() has no option {key!r}{suggest(key, known)}")
        types = get_args(hints[key]) or (hints[key],)
        least = known[key].metadata["least"]
        number = not isinstance(value, bool) and isinstance(value, int | float)
        accepted = type(value) in types or (number and float in types)
        if not accepted or (number and least is not None and not value >= least):
            allowed = " or ".join(WORDS[item] for item in types)
            limit = "" if least is None else f" of at least {least}"
            raise EstimateError(key, value, f"{allowed}{limit}")


def _describe(call: Any, function: Callable[..., Any], kind: Any) -> None:
    """Give a function the signature and the arguments in its docstring that it takes."""
    hints = get_type_hints(kind)
    own = inspect.Parameter("model", inspect.Parameter.POSITIONAL_ONLY, annotation=Model)
    options = [
        item.replace(annotation=hints[item.name])
        for item in inspect.signature(kind).parameters.values()
    ]
    returns = get_type_hints(function)["return"]
    call.__signature__ = inspect.Signature([own, *options], return_annotation=returns)
    lines = {"model": MODEL, **{i.name: i.metadata["help"] for i in dataclasses.fields(kind)}}
    head, mark, rest = (function.__doc__ or "").partition("    Returns:")
    listed = "".join(f"        {name}: {text}\n" for name, text in lines.items())
    call.__doc__ = f"{head}    Args:\n{listed}\n{mark}{rest}"


@_takes(EstimateOptions)
def predict(model: str, options: EstimateOptions) -> Prediction:
    """Predict the peak memory of a run from the model's config; nothing is run or downloaded.

    Returns:
        The peak, its interval and its parts.

    Raises:
        UsageError: An unknown model or option; the message suggests the nearest one.
        EstimateError: A value or a field of the config that cannot be.
        CheckpointError: A file that is no config.
        BlockedError: The hub did not answer.
        UntraceableError: MLX cannot export this model, and nothing else estimates it.
    """
    found, settings = read(model, options)
    predicted = predicting.predict(found.config, settings)
    defaults = {item.name: item.default for item in dataclasses.fields(options)}
    given = [name for name, value in defaults.items() if getattr(options, name) != value]
    unused = ignored(given, inference=settings.inference)
    return dataclasses.replace(predicted, warnings=(*predicted.warnings, *unused))


@_takes(_FitOptions)
def fit(model: str, options: _FitOptions) -> Search:
    """Find the settings nearest to the given ones whose predicted upper end fits a budget.

    Returns:
        What fits, nearest first, and the smallest settings with their need.

    Raises:
        UsageError: An unknown model or option; the message suggests the nearest one.
        EstimateError: A value or a field of the config that cannot be.
        CheckpointError: A file that is no config.
        BlockedError: The hub did not answer.
        UntraceableError: MLX cannot export this model, and nothing else estimates it.
    """
    found, settings = read(model, options)
    return fitting.fit(found.config, settings, options.budget_bytes, keep=kept(options))


@_takes(_MeasureOptions)
def measure(model: str, options: _MeasureOptions) -> Measured:
    """Run MLX-LM's trainer, or its generation, in a fresh child process and measure it.

    Without weights of the model on this machine they are random: their memory is the same.

    Returns:
        What the run took.

    Raises:
        UsageError: An unknown model or option; the message suggests the nearest one.
        EstimateError: A value that cannot be, or that this machine or these weights are not.
        CheckpointError: A file that is no config.
        BlockedError: The hub did not answer.
        ChildError: The child died or was killed; the message has the cause.
    """
    found, settings = read(model, options)
    weights = choose_weights(found, settings, options)
    return measuring.measure(
        found.config,
        settings,
        steps=options.steps,
        timeout_s=options.timeout_s,
        memory_limit_bytes=options.memory_limit_bytes,
        weights=weights,
    )


def read(model: str, options: LoraOptions) -> tuple[Source, Settings]:
    """Return the model and the settings that options ask for."""
    found = source.find(model)
    stored = read_quantization(found.config)
    bits = options.bits
    if bits is None:
        bits = stored.bits if stored else UNQUANTIZED if options.fine_tune_type == "full" else 4
    group = options.group_size
    if group is None:
        group = stored.group_size if stored and bits == stored.bits else 64
    names = {item.name for item in dataclasses.fields(Settings)}
    given = {k: v for k, v in dataclasses.asdict(options).items() if k in names}
    keys = options.lora_keys
    return found, Settings(
        **given
        | {
            "bits": None if bits == UNQUANTIZED else bits,
            "group_size": group,
            "dtype": dtype_of(found.config) if options.dtype is None else options.dtype,
            "keys": None if keys is None else tuple(key.strip() for key in keys.split(",")),
            "backend": calibration.backend() if options.backend is None else options.backend,
        }
    )


def kept(options: FitOptions) -> list[str]:
    """Return the names of the settings that a search must not lower."""
    names = options.keep.split(",")
    return [name.strip().replace("-", "_") for name in names if name.strip()]


def choose_weights(found: Source, settings: Settings, options: MeasureOptions) -> Path | None:
    """Return the folder of the weights to measure with; None for random ones.

    Raises:
        EstimateError: The settings name another backend, or other bits than the weights have.
    """
    here = calibration.backend()
    if settings.backend != here:
        raise EstimateError("backend", settings.backend, f"{here}, the one of this machine")
    stored = read_quantization(found.config)
    weights = None if options.random_weights else found.folder
    if weights and stored and not stored.matches(settings.bits, settings.group_size):
        raise EstimateError(
            "bits",
            settings.bits,
            f"{stored.bits} in groups of {stored.group_size}, as the weights are stored",
            hint="add --random-weights",
        )
    return weights
