"""Commands on memory: estimate, measure and fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_preflight.cli import fit
from mlx_preflight.cli.options import (
    BudgetOption,
    ChipOption,
    JsonOption,
    Model,
    bytes_of,
    expanded,
    note,
    print_json,
    progress,
)
from mlx_preflight.core.errors import EstimateError, ExitCode, UntraceableError, UsageError
from mlx_preflight.core.text import one_line
from mlx_preflight.memory import deferred
from mlx_preflight.memory.options import EstimateOptions, MeasureOptions, ignored
from mlx_preflight.plan.options import flag_of

if TYPE_CHECKING:
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.settings import Settings
    from mlx_preflight.models.source import Source
    from mlx_preflight.training.duration import Duration


def attach(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(
        epilog="Examples:  mlx-preflight estimate qwen2.5-coder-7b --batch-size 1 --budget-gb 16"
        "  ·  mlx-preflight estimate ./my-model --inference --json"
    )(expanded(estimate))
    app.command(
        epilog="Example:  mlx-preflight measure embedded --batch-size 1 --max-seq-length 256"
    )(expanded(measure))
    app.command(
        epilog="Example:  mlx-preflight fit qwen2.5-coder-7b --budget-gb 16 "
        "--keep max_seq_length --write ./run"
    )(expanded(fit.fit))


def estimate(
    context: typer.Context,
    model: Model,
    options: EstimateOptions,
    budget_gb: BudgetOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw memory over the step: .svg, .png or .pdf.")
    ] = None,
    duration: Annotated[
        int | None,
        typer.Option("--duration", min=1, help="Also say how long so many iterations take."),
    ] = None,
    chip: ChipOption = "",
    as_json: JsonOption = False,
) -> None:
    """Predict the peak memory of a run from the model's config; nothing is run or downloaded.

    The exit code is 1 when the upper end of the prediction is over --budget-gb.
    """
    deferred.import_mlx_lm()
    from mlx_preflight.memory import api

    source, settings = api.read(model, options)
    budget = bytes_of(budget_gb)
    if duration is not None:
        from mlx_preflight.training import timing

        timing.require_speed(settings.backend, chip)
    elif chip:
        raise UsageError("--chip: only with --duration", hint="add --duration ITERATIONS")
    with progress(f"tracing {source.name}", quiet=as_json):
        from mlx_preflight.memory.predict import predict

        found = predict(source.config, settings)
    warnings = (*found.warnings, *_ignored(context, settings))
    found = dataclasses.replace(found, warnings=warnings)
    if plot is not None:
        from mlx_preflight.memory import plot as plots

        plots.step(found, plot, f"{source.name}, {settings.backend}, simulated")
    fits = budget is None or found.peak_high_bytes <= budget
    timed = _duration(found, duration, chip) if duration is not None and fits else None
    if as_json:
        print_json({**_document(source, found, budget), **(timed.to_json() if timed else {})})
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_prediction(
            one_line(source.name),
            found,
            budget_bytes=budget,
            download_bytes=source.download_bytes,
        )
        if timed is not None:
            typer.echo(timed.line)
        elif duration is not None:
            typer.echo("time unknown: a run over its budget pages, and has no speed worth a figure")
    raise typer.Exit(ExitCode.of(fits))


@dataclasses.dataclass(frozen=True)
class _Timed:
    """How long a run takes, and where that comes from."""

    duration: Duration
    source: str

    @property
    def line(self) -> str:
        """Return it for the terminal."""
        return f"time {self.duration.describe()}; from {self.source} (simulated)"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, in seconds."""
        low, high = self.duration.ends_s
        parts = {**dataclasses.asdict(self.duration), "total_s": self.duration.total_s}
        return {"duration": {**parts, "low_s": low, "high_s": high, "source": self.source}}


def _duration(found: Prediction, iterations: int, chip: str) -> _Timed:
    from mlx_preflight.training import duration, timing

    settings = found.settings
    if settings.inference:
        raise EstimateError("duration", iterations, "left out with --inference")
    times = timing.of_prediction(found, settings.max_seq_length, chip=chip)
    return _Timed(duration.of_iterations(times, iterations, settings.max_seq_length), times.source)


def measure(
    context: typer.Context,
    model: Model,
    options: MeasureOptions,
    memory_limit_gb: Annotated[
        float | None,
        typer.Option(
            "--memory-limit-gb", help="Kill the run above this; default: 0.9 of what is free."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run MLX-LM's trainer, or its generation, in a fresh child and measure its peak.

    Without weights of the model on this machine they are random: their memory is the same.
    """
    from mlx_preflight.memory import api
    from mlx_preflight.memory import measure as measuring
    from mlx_preflight.memory.predict import predict

    source, settings = api.read(model, options)
    predicted: Prediction | None = None
    for line in _ignored(context, settings):
        typer.echo(f"warning: {line}", err=True)
    weights = api.choose_weights(source, settings, options)
    with progress(f"measuring {source.name}", quiet=as_json):
        try:
            predicted = predict(source.config, settings)
        except UntraceableError as error:  # (its hint says to measure)
            note(f"warning: no prediction: {error}")
        found = measuring.measure(
            source.config,
            settings,
            steps=options.steps,
            timeout_s=options.timeout_s,
            memory_limit_bytes=bytes_of(memory_limit_gb, "memory-limit-gb"),
            weights=weights,
        )
    if as_json:
        print_json(
            {
                **dataclasses.asdict(found),
                "predicted_bytes": None if predicted is None else predicted.peak_bytes,
                "settings": dataclasses.asdict(settings),
                "model": source.name,
                "weights": "random" if weights is None else str(weights),
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_measured(one_line(source.name), found, predicted, settings)


def _ignored(context: typer.Context, settings: Settings) -> tuple[str, ...]:
    """Return warnings of options that were typed and that this kind of run does not obey."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, found in sources.items() if found and found.name == "COMMANDLINE"]
    return ignored(given, inference=settings.inference, shown=flag_of)


def _document(source: Source, found: Prediction, budget: int | None) -> dict[str, Any]:
    from mlx_preflight.memory.settings import WORKING_SETS

    document = dataclasses.asdict(found)
    del document["timeline"], document["costs"]
    return {
        **document,
        "model": source.name,
        "origin": source.origin,
        "evidence": found.evidence,
        "download_bytes": source.download_bytes,
        "headroom_bytes": None if budget is None else budget - found.peak_high_bytes,
        "macs": [
            {"ram_gb": ram, "working_set_bytes": size, "headroom_bytes": size - high}
            for high in [found.peak_high_bytes]
            for ram, size in WORKING_SETS.items()
        ],
    }
