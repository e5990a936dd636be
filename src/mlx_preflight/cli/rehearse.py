"""The command that trains slices of a model, to see whether and how fast a step works here."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight.cli.options import (
    BudgetOption,
    HostfileOption,
    JsonOption,
    RanksOption,
    bytes_of,
    expanded,
    load_context,
    print_json,
)
from mlx_preflight.cli.options import note as show_note
from mlx_preflight.core.errors import BlockedError, ExitCode, UsageError
from mlx_preflight.core.heartbeat import heartbeat
from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_number, format_seconds
from mlx_preflight.memory.options import LoraOptions
from mlx_preflight.plan import register
from mlx_preflight.plan.options import RunOptions, TrainingRequest, flag_of

YAML = (".yaml", ".yml")

BEAT_S = 0.5
"""Seconds between two moves of the progress bar."""


def attach(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples:  mlx-preflight rehearse lora_config.yaml  ·  "
        "mlx-preflight rehearse qwen2.5-coder-7b --batch-size 1 --max-seq-length 1024"
    )(expanded(rehearse))


def rehearse(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="YAML of mlx_lm.lora, or a model as for `estimate`.")
    ],
    options: LoraOptions,
    budget_gb: BudgetOption = None,
    ranks: RanksOption = None,
    hostfile: HostfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train slices of a model for up to a minute: does a step work here, and what does it take?

    The slices have the real widths, vocabulary and formats, few blocks and random weights; the
    model itself need not be there. Of a YAML, the widths are those of its batches, and the hours
    of the whole run follow. Where no slice fits, the peak is predicted only. The exit code is 1
    where a step fails or the peak is over the budget, and 3 where nothing was rehearsed.
    """
    budget = bytes_of(budget_gb)
    if not target.endswith(YAML):
        if ranks or hostfile:
            raise UsageError(
                "--ranks and --hostfile: only with a YAML, whose batch is shared",
                hint="name a YAML, or give --batch-size the part of one process",
            )
        raise typer.Exit(_model(target, options, budget, as_json=as_json))
    if given := _given(context):
        raise UsageError(
            f"{', '.join(given)}: not with a YAML, which has its own settings",
            hint="change the YAML, or name a model",
        )
    from mlx_preflight.training import command

    request = command.request_of([target], budget, ranks=ranks, hostfile=hostfile)
    raise typer.Exit(_config(request, budget_gb, as_json=as_json))


def _given(context: typer.Context) -> list[str]:
    """Return the flags of the run's settings that were typed."""
    names = [field.name for field in dataclasses.fields(LoraOptions)]
    sources = {name: context.get_parameter_source(name) for name in names}
    return [flag_of(name) for name, one in sources.items() if one and one.name == "COMMANDLINE"]


def _config(request: TrainingRequest, budget_gb: float | None, *, as_json: bool) -> int:
    from mlx_preflight.report import screen
    from mlx_preflight.run.session import run_session

    judged = load_context(Path(), RunOptions(budget_gb=budget_gb), needs_table=False)
    wanted = (register.RUN6_REHEARSAL, register.RUN7_DURATION)
    with _progress() as note:
        judged = dataclasses.replace(judged, training=request, note=note)
        results = [run_session(register.find_session(name)[0], judged) for name in wanted]
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        for result in results:
            screen.show_session(result)
    return Status.worst([result.status for result in results]).exit_code


def _model(target: str, options: LoraOptions, budget: int | None, *, as_json: bool) -> int:
    from mlx_preflight.memory import api, calibration
    from mlx_preflight.memory.predict import Prediction, predict
    from mlx_preflight.training import budget as budgets
    from mlx_preflight.training import rehearsal, slice_runs, timing
    from mlx_preflight.training.rehearsal import Corrected

    source, settings = api.read(target, options)
    if settings.backend != calibration.backend():
        raise UsageError(
            f"--backend {settings.backend}: this machine computes on {calibration.backend()}",
            hint="rehearse on the machine that trains",
        )
    most = settings.max_seq_length
    widths = sorted({max(most // 4, 2), max(most // 2, 2), most})
    judged = load_context(Path(), RunOptions(), needs_table=False)
    judged = dataclasses.replace(judged, training=TrainingRequest((), budget))
    limit = budgets.read_budget(judged).budget_bytes
    # First: settings that the model cannot have are refused before anything is trained.
    predicted = predict(source.config, settings)
    peak: Prediction | Corrected = predicted
    document: dict[str, Any] = {
        "model": source.name,
        "budget_bytes": limit,
        "evidence": "simulated",
    }
    try:
        with _progress() as note:
            found = slice_runs.rehearse(
                source.config, settings, widths, [most], budget_bytes=limit, note=note
            )
    except BlockedError as error:
        document |= {"slices": [], "reason": str(error)}
    else:
        times = timing.of_rehearsal(found)
        peak = rehearsal.corrected(found, predicted)
        document |= {
            "slices": [dataclasses.asdict(one) for one in found.slices],
            "trained": found.describe(),
            "step_s": dict(zip(map(str, times.train.widths), times.train.seconds, strict=True)),
            "validation_batch_s": float(times.validation.at(most)),
            "spread": times.spread,
            "measured_by_predicted": peak.ratio,
        }
    document |= {
        "peak_bytes": peak.peak_bytes,
        "peak_low_bytes": peak.peak_low_bytes,
        "peak_high_bytes": peak.peak_high_bytes,
    }
    if as_json:
        print_json(document)
    else:
        _show(document)
    if peak.peak_high_bytes > limit:
        return ExitCode.FAILED
    return ExitCode.PASSED if document["slices"] else ExitCode.NOT_JUDGED


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show a bar of the planned seconds on a terminal, and notes alone elsewhere."""
    if not sys.stderr.isatty():
        yield show_note
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from mlx_preflight.training.slice_runs import PLAN_S

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("rehearsal", total=PLAN_S)
        with heartbeat(BEAT_S, lambda: shown.advance(task, BEAT_S)):
            yield lambda text: shown.update(task, description=escape(text))


def _show(document: Mapping[str, Any]) -> None:
    from mlx_preflight.core.units import format_bytes, format_interval, format_percent
    from mlx_preflight.training.rehearsal import NOISY

    interval = format_interval(document["peak_low_bytes"], document["peak_high_bytes"])
    peak = f"the whole run peaks at {format_bytes(document['peak_bytes'])} ({interval})"
    if document["slices"]:
        typer.echo(f"a step works here: {document['trained']}")
        for width, seconds in document["step_s"].items():
            rate = format_number(int(width) / seconds)
            shown = format_seconds(seconds)
            typer.echo(f"  {width:>6} tokens  {shown} a step, {rate} tokens/s a row")
        spread = format_percent(100 * document["spread"])
        busy = "; the machine was busy" if document["spread"] > NOISY else ""
        typer.echo(f"spread {spread}{busy}; {peak}, corrected by slices")
    else:
        typer.echo(document["reason"])
        typer.echo(f"predicted only: {peak}")
    if document["peak_high_bytes"] > document["budget_bytes"]:
        typer.echo(f"that is over the budget of {format_bytes(max(document['budget_bytes'], 0))}")
