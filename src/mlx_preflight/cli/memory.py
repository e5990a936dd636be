"""Commands on memory: estimate, measure and fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_preflight.cli.options import (
    BudgetOption,
    JsonOption,
    bytes_of,
    expanded,
    print_json,
    progress,
)
from mlx_preflight.core.errors import EstimateError, ExitCode, UsageError
from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import format_bytes
from mlx_preflight.memory.options import EstimateOptions, FitOptions, MeasureOptions, ignored
from mlx_preflight.plan.options import BUDGET_HELP, flag_of

if TYPE_CHECKING:
    from mlx_preflight.memory.fit import Fit, Search
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.settings import Settings
    from mlx_preflight.models.source import Source
    from mlx_preflight.training.duration import Duration
    from mlx_preflight.training.length_limits import LengthLimits

Model = Annotated[
    str, typer.Argument(help="Built-in name, config.json, folder, hub id or `embedded`.")
]

ChipOption = Annotated[
    str, typer.Option("--chip", help="Chip whose speed counts, such as `M1 Max`; default: this.")
]


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
    )(expanded(fit))


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
    for line in _ignored(context, settings):
        typer.echo(f"warning: {line}", err=True)
    weights = api.choose_weights(source, settings, options)
    with progress(f"measuring {source.name}", quiet=as_json):
        predicted = predict(source.config, settings)
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
                "predicted_bytes": predicted.peak_bytes,
                "settings": dataclasses.asdict(settings),
                "model": source.name,
                "weights": "random" if weights is None else str(weights),
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_measured(one_line(source.name), found, predicted)


def fit(
    model: Model,
    budget_gb: Annotated[float, typer.Option("--budget-gb", help=BUDGET_HELP)],
    options: FitOptions,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Training rows: lengths to choose the row limit from."),
    ] = None,
    prefer: Annotated[
        str, typer.Option("--prefer", help="`quality`: give up little; `time`: fastest first.")
    ] = "quality",
    chip: ChipOption = "",
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder for lora_config.yaml and axolotl.yml.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the settings nearest to yours whose predicted upper end fits a budget.

    The exit code is 1 when nothing fits; the smallest settings and their need are shown.
    """
    from mlx_preflight.memory import api
    from mlx_preflight.memory import fit as fitting

    source, settings = api.read(model, options)
    budget = bytes_of(budget_gb) or 0
    place = "" if write is None else source.place  # (refused before the search, not after it)
    if prefer not in PREFERENCES:
        raise EstimateError("prefer", prefer, " or ".join(PREFERENCES))
    if prefer == "time" or chip:
        from mlx_preflight.training import timing

        timing.require_speed(settings.backend, chip)
    lengths = None if data is None else _lengths(source, data)
    limits: Sequence[int] = ()
    if lengths is not None:
        limits = lengths.limits(settings.max_seq_length)
        settings = dataclasses.replace(settings, max_seq_length=limits[0])
    with progress("searching", quiet=as_json) as status:
        note, kept = getattr(status, "update", print), api.kept(options)
        found = fitting.fit(source.config, settings, budget, keep=kept, limits=limits, note=note)
    hours = _hours(found, chip, needed=prefer == "time")
    if prefer == "time":
        fastest = sorted(found.fits, key=lambda item: hours[item.settings])
        found = dataclasses.replace(found, fits=tuple(fastest))
    written: Sequence[Path] = ()
    if write is not None and found.fits:
        from mlx_preflight.frameworks import configs
        from mlx_preflight.memory.settings import in_words

        best = found.fits[0]
        head = (
            f"{in_words(best.settings)}: predicted peak "
            f"{format_bytes(best.prediction.peak_bytes)}, at most "
            f"{format_bytes(best.prediction.peak_high_bytes)} on {settings.backend} (simulated)"
        )
        written = configs.write(
            write,
            place,
            best.settings,
            source.config,
            head,
            lambda line: typer.echo(f"warning: {line}", err=True),
            str(data or configs.DATA),
        )
    if as_json:
        print_json(
            {
                "budget_bytes": budget,
                "fits": [
                    {
                        **_fit_document(item, budget, lengths),
                        "thousand_rows_s": hours.get(item.settings),
                    }
                    for item in found.fits
                ],
                "smallest_bytes": found.smallest.peak_high_bytes,
                "written": [str(path) for path in written],
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        describe = None if lengths is None else lengths.describe
        memory_screen.show_fits(found, budget, written, describe, hours)
    raise typer.Exit(ExitCode.of(bool(found.fits)))


PREFERENCES = ("quality", "time")


def _hours(found: Search, chip: str, *, needed: bool) -> dict[Settings, float]:
    """Return seconds that 1,000 rows at the limit take, by settings; empty where unknown.

    Raises:
        UsageError: They are needed, and no speed of the chip is known.
    """
    from mlx_preflight.training import timing

    taken: dict[Settings, float] = {}
    if not needed and not chip and any(item.settings.backend == "cpu" for item in found.fits):
        return taken  # (a probe of the processor takes seconds that nobody asked for)
    try:
        for item in found.fits:
            most = item.settings.max_seq_length
            times = timing.of_prediction(item.prediction, most, chip=chip)
            taken[item.settings] = 1000 / item.settings.batch_size * float(times.train.at(most))
    except UsageError:
        if needed or chip:
            raise
        return {}
    return taken


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


def _lengths(source: Source, data: Path) -> LengthLimits:
    from mlx_preflight.training import length_limits

    return length_limits.read(str(source.folder or source.name), data)


def _fit_document(item: Fit, budget: int, lengths: LengthLimits | None) -> dict[str, Any]:
    cut = None if lengths is None else lengths.cut(item.settings.max_seq_length)
    more = {} if cut is None else {"rows_cut": cut.cut_rows, "tokens_cut": cut.cut_tokens}
    return {
        **more,
        "settings": dataclasses.asdict(item.settings),
        "peak_bytes": item.prediction.peak_bytes,
        "peak_high_bytes": item.prediction.peak_high_bytes,
        "headroom_bytes": budget - item.prediction.peak_high_bytes,
        "given_up": list(item.given_up),
        "cost": item.cost,
    }
