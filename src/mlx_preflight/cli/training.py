"""The command on training data: what is wrong with them, how long they are, and what is trained."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_preflight.cli.options import JsonOption, expanded, print_json
from mlx_preflight.cli.options import note as show_note
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.units import format_percent
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.training.data_options import DataOptions

if TYPE_CHECKING:
    from mlx_preflight.run.context import Context

STYLES: dict[str, dict[str, Any]] = {
    "masked": {"dim": True},
    "trained": {"fg": "green", "bold": True},
    "cut": {"fg": "red", "strikethrough": True},
}
"""Piece of a row, in order → how a terminal shows it; its name is before it, for one without
colours."""


def attach(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples:  mlx-preflight data ./data --model ./my-model --mask-prompt --show 3"
        "  ·  mlx-preflight data ./data --model embedded --plot lengths.svg"
    )(expanded(data))


def data(
    folder: Annotated[Path, typer.Argument(help="Folder with train, valid and test.jsonl.")],
    options: DataOptions,
    show: Annotated[
        int, typer.Option("--show", min=0, help="Show so many rows; a terminal only.")
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw lengths and cuts: .svg, .png or .pdf.")
    ] = None,
    sort: Annotated[
        Path | None,
        typer.Option("--sort", help="Write the order with the least padding to a new folder."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the rows of a training with the model's tokenizer, as mlx-lm would read them.

    Content of rows is printed by --show only. The exit code is 1 where a check fails.
    """
    from mlx_preflight.run.session import run_session

    if show and (as_json or not sys.stdout.isatty()):
        raise UsageError(
            "--show prints rows on a terminal only", hint="leave out --json, and redirect nothing"
        )
    judged = _context(folder, options)
    session = next(s for s in register.sessions("run") if s.id == register.RUN4_DATA)
    finished = run_session(session, judged)
    if as_json:
        print_json(finished.to_json())
    else:
        from mlx_preflight.report import screen

        screen.show_session(finished)
    _more(judged, show, plot, sort)
    raise typer.Exit(finished.status.exit_code)


def _context(folder: Path, options: DataOptions) -> Context:
    """Return the context of the run; a folder without a project is judged by the defaults."""
    from mlx_preflight.run.context import Context

    project = Path.cwd()
    has_table = (project / "pyproject.toml").is_file()
    settings = (
        project_table.load_settings(project) if has_table else project_table.ProjectSettings()
    )
    if options.model is None and options.config is None:
        raise UsageError("no model is named", hint="add --model FOLDER, or --config of the run")
    request = options.request(folder.absolute())
    made = Context.of(project, settings, note=show_note, training=request)
    return dataclasses.replace(made, model=options.model or made.model)


def _more(judged: Context, show: int, plot: Path | None, sort: Path | None) -> None:
    """Show, draw and sort the rows that were judged; the reading comes from the cache."""
    if not (show or plot or sort):
        return
    from mlx_preflight.training import data_order, data_plot, rows
    from mlx_preflight.training.training_run import read_run

    run = read_run(judged)
    model = rows.tokenizer_folder(run)
    if show:
        for row in rows.view(run, model, show, timeout_s=judged.settings.timeout_s):
            _show(row)
    if not (plot or sort):
        return
    found = rows.read_rows(judged, run, model)
    if plot:
        data_plot.draw(found, int(run.settings["max_seq_length"]), plot)
        show_note(f"wrote {plot}")
    if sort:
        gain = data_order.write(run, found, sort)
        show_note(
            f"wrote {sort}: {format_percent(100 * gain.after)} padding instead of "
            f"{format_percent(100 * gain.before)}, {format_percent(100 * gain.saved)} less to "
            "compute. It changes the training: a batch then holds rows of one length"
        )


def _show(row: dict[str, Any]) -> None:
    from mlx_preflight.core.text import strip_control

    typer.secho(f"train.jsonl, line {row['line']}", bold=True)
    # In the order of the row; JSON has sorted them by name.
    for name, style in STYLES.items():
        if count := row["tokens"][name]:
            typer.echo(f"[{name}, {count} tokens] ", nl=False)
            typer.secho(strip_control(row["pieces"][name]), **style)
