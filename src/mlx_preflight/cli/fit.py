"""Command that searches the settings of a training that fit a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_preflight.cli.options import ChipOption, JsonOption, Model, bytes_of, print_json, progress
from mlx_preflight.core.errors import EstimateError, ExitCode, UsageError
from mlx_preflight.core.units import format_bytes
from mlx_preflight.memory import deferred
from mlx_preflight.memory.options import FitOptions
from mlx_preflight.memory.settings import working_set_note
from mlx_preflight.plan.options import BUDGET_HELP

if TYPE_CHECKING:
    from mlx_preflight.memory.explain import Alternative
    from mlx_preflight.memory.fit import Fit, Search
    from mlx_preflight.memory.settings import Settings
    from mlx_preflight.models.source import Source
    from mlx_preflight.training.length_limits import LengthLimits


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
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say what each change of your run would save.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder for lora_config.yaml and axolotl.yml.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the settings nearest to yours whose predicted upper end fits a budget.

    The exit code is 1 when nothing fits; the smallest settings and their need are shown.
    """
    deferred.import_mlx_lm()
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
        show, kept = getattr(status, "update", print), api.kept(options)
        found = fitting.fit(source.config, settings, budget, keep=kept, limits=limits, note=show)
    priced = _priced(source, settings) if explain else ()
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
                "alternatives": [dataclasses.asdict(item) for item in priced],
                "written": [str(path) for path in written],
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        describe = None if lengths is None else lengths.describe
        memory_screen.show_fits(found, budget, written, describe, hours)
        memory_screen.show_alternatives(priced)
        if text := working_set_note(budget, settings.backend):
            typer.echo(text)
    raise typer.Exit(ExitCode.of(bool(found.fits)))


def _priced(source: Source, settings: Settings) -> Sequence[Alternative]:
    """Return what each change of a run would save."""
    from mlx_preflight.memory import explain
    from mlx_preflight.memory.predict import predict

    return explain.alternatives(source.config, predict(source.config, settings))


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
