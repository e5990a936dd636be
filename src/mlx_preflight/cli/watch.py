"""The command that runs a training and compares it with what was predicted."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlx_preflight.core import environment, user_data
from mlx_preflight.core.errors import PreflightError, UsageError
from mlx_preflight.core.units import GIGA, format_bytes, format_interval
from mlx_preflight.plan.options import MOST_GB
from mlx_preflight.run.context import new_run_id

if TYPE_CHECKING:
    from mlx_preflight.training.watch.forecast import Forecast
    from mlx_preflight.training.watch.supervisor import Ending

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|%)?", re.IGNORECASE)

ALL_PERCENT = 100


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        # Options behind the first word are those of the command that is run.
        context_settings={"allow_extra_args": True, "allow_interspersed_args": False},
        epilog="Examples:  mlx-preflight watch -- mlx_lm.lora -c lora_config.yaml --train  ·  "
        "mlx-preflight watch --stop-at 80% -- mlx_lm.lora -c lora_config.yaml --train",
    )(watch)


def watch(
    context: typer.Context,
    stop_at: Annotated[
        str | None,
        typer.Option(
            "--stop-at",
            metavar="SIZE",
            help="Stop the run before its processes hold more than so many GB, or a share of the "
            "RAM such as 80%, or before less than 1 GB is free: after a save where there is time.",
        ),
    ] = None,
) -> None:
    """Run a training as it is, and compare it with what was predicted.

    Its output is passed on unchanged; the watch prints its own lines on stderr, and ends with the
    exit code of the command. Without --stop-at nothing is ever stopped.
    """
    words = list(context.args)
    if not words:
        hint = "`mlx-preflight watch -- mlx_lm.lora -c lora_config.yaml --train`"
        raise UsageError("no command is named", hint=hint)
    limit = None if stop_at is None else parse_size(stop_at)
    from mlx_preflight.training.watch.supervisor import CommandError, find_program

    try:
        find_program(words)
        ending, run_id, started = _run(words, limit)
    except CommandError as error:
        typer.echo(f"error: {error}\n  try: {error.hint}", err=True)
        raise typer.Exit(error.code) from error
    _close(words, ending, run_id, started)
    raise typer.Exit(ending.code)


def parse_size(text: str) -> int:
    """Return a size in bytes, of `12`, `12 GB` or `80%` of the RAM.

    Raises:
        UsageError: It is no such size.
    """
    found = _SIZE.fullmatch(text.strip())
    number = float(found[1]) if found else 0.0
    share = found is not None and found[2] == "%"
    if found is None or not 0 < number < MOST_GB or (share and number > ALL_PERCENT):
        raise UsageError(f"--stop-at {text!r} is no size", hint="such as 12, 12GB or 80%")
    if share:
        return int(environment.memory_bytes() * number / ALL_PERCENT)
    return int(number * GIGA)


def _run(words: list[str], limit: int | None) -> tuple[Ending, str, dt.datetime]:
    """Judge a command, run it, and return its end, its id and when it started."""
    from mlx_preflight.training.watch import forecast
    from mlx_preflight.training.watch.notices import Notices, say
    from mlx_preflight.training.watch.supervisor import Supervisor

    if forecast.trainer_words(words) is not None:
        say("judging the run before it starts")
    known = forecast.predict(words, Path.cwd())
    if said := _announcement(known, limit):
        say(said)
    run_id, started = new_run_id(inherit=False), dt.datetime.now(dt.UTC)
    return Supervisor(known, Notices(), limit).run(words), run_id, started


def _announcement(known: Forecast, limit: int | None) -> str:
    """Return peak and limit in words."""
    said = []
    if known.peak_low_bytes is not None and known.peak_high_bytes is not None:
        interval = format_interval(known.peak_low_bytes, known.peak_high_bytes)
        said.append(f"predicted peak {interval} at iteration {known.peak_iteration:,}")
    if limit is not None:
        said.append(f"the run is stopped before it holds {format_bytes(limit)}")
    return "; ".join(said)


def _close(words: list[str], ending: Ending, run_id: str, started: dt.datetime) -> None:
    """Print the last lines, and keep what was true."""
    from mlx_preflight.history import watched
    from mlx_preflight.training.watch import closing, record
    from mlx_preflight.training.watch.notices import say

    for text in ending.comparison.notices.changed():
        say(f"at the end: {text}")
    for line in closing.lines(words, ending):
        say(line)
    document = record.document(run_id, started, ending)
    _keep(lambda: user_data.append_line(user_data.runs_file(), document))
    _keep(lambda: watched.remember(Path.cwd(), document))


def _keep(write: Callable[[], None]) -> None:
    """Write a record; where it cannot be written, say so and go on."""
    from mlx_preflight.training.watch.notices import say

    try:
        write()
    except PreflightError as error:
        say(f"not recorded: {error}")
