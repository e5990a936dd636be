"""The command that judges the adapter of a finished training, in any folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli import history
from mlx_preflight.cli.options import JsonOption, load_context, print_json
from mlx_preflight.plan import register
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run import start
from mlx_preflight.run.context import RUN_ID_VARIABLE, new_run_id
from mlx_preflight.run.session import run_session

GROUP = "finish"


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        epilog="Examples:  mlx-preflight finish adapters  ·  "
        "mlx-preflight finish adapters --config lora_config.yaml --fused fused_model"
    )(finish)


def finish(
    adapter: Annotated[Path, typer.Argument(help="Folder that mlx_lm.lora wrote.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Base; default: the one that the folder names.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Folder with valid.jsonl; default: likewise.")
    ] = None,
    fused: Annotated[
        str | None, typer.Option("--fused", help="Folder of the fused model to compare with.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="YAML of mlx_lm.lora: what was asked.")
    ] = None,
    run_id: Annotated[str, typer.Option("--run-id", hidden=True, help="Id of the run.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Judge the adapter of a finished training: usable or not, and why.

    Base, rows and settings are those that its adapter_config.json names. Nothing is trained, and
    no file of yours is changed.
    """
    from mlx_preflight.report import qualification
    from mlx_preflight.report.write import summarize

    options = RunOptions(adapter=str(adapter), model=model, data=data, fused=fused, config=config)
    judged = load_context(Path(), options, needs_table=False)
    run_id = os.environ[RUN_ID_VARIABLE] = run_id or new_run_id(inherit=False)
    judged = dataclasses.replace(judged, run_id=run_id)
    with start.start_run(GROUP, judged.project, judged.profile):
        results = [run_session(session, judged) for session in register.sessions(GROUP)]
    verdict, document = summarize(judged.state, run_id, only=True)
    if as_json:
        usable = verdict.exit_code == 0
        print_json({"usable": usable, "adapter": str(adapter), "report": document})
    else:
        qualification.show_finished(document, results, str(adapter))
    if said := history.remember(judged.state):
        typer.echo(said, err=True)
    raise typer.Exit(verdict.exit_code)
