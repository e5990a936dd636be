"""The command that judges a training run before it is started, in any folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli.options import (
    BudgetOption,
    HostfileOption,
    JsonOption,
    RanksOption,
    bytes_of,
    load_context,
    print_json,
)
from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.plan import register
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run import start
from mlx_preflight.run.context import RUN_ID_VARIABLE, new_run_id
from mlx_preflight.run.session import run_session

WHOLE, QUICK = "run", "qualify"
"""Groups with and without the rehearsal."""


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        epilog="Examples:  mlx-preflight qualify lora_config.yaml  ·  "
        "mlx-preflight qualify --model ./my-model --data ./data --iters 500  ·  "
        "mlx-preflight qualify -- mlx_lm.lora -c lora_config.yaml --train",
    )(qualify)


def qualify(
    context: typer.Context,
    budget_gb: BudgetOption = None,
    rehearsed: Annotated[
        bool, typer.Option("--rehearse", help="Also train slices of the model, up to a minute.")
    ] = False,
    ranks: RanksOption = None,
    hostfile: HostfileOption = None,
    run_id: Annotated[str, typer.Option("--run-id", hidden=True, help="Id of the run.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Judge the training run that you mean to start: go, or no-go and why.

    Takes a config of mlx_lm.lora, its options, or its complete command, also that of mlx.launch
    which starts it in several processes (or name them with --ranks or --hostfile). Without any
    of them the embedded model on embedded rows is judged. Nothing is trained.
    """
    from mlx_preflight.report import qualification
    from mlx_preflight.report.write import summarize
    from mlx_preflight.training import command
    from mlx_preflight.training.training_run import read_run

    judged = load_context(Path(), RunOptions(budget_gb=budget_gb), needs_table=False)
    budget = bytes_of(budget_gb)
    request = command.request_of(context.args, budget, ranks=ranks, hostfile=hostfile)
    judged = dataclasses.replace(judged, training=request)
    with contextlib.suppress(CheckpointError):  # (a config that cannot be read is a finding)
        read_run(judged)
    run_id = os.environ[RUN_ID_VARIABLE] = run_id or new_run_id(inherit=False)
    judged = dataclasses.replace(judged, run_id=run_id)
    group = WHOLE if rehearsed else QUICK
    with start.start_run(group, judged.project, judged.profile):
        results = [run_session(session, judged) for session in register.sessions(group)]
    verdict, document = summarize(judged.state, run_id, only=True)
    line = command.command_line(request.arguments, judged)
    if as_json:
        go = verdict.exit_code == 0
        print_json({"go": go, "command": line, "report": document})
    else:
        qualification.show(document, results, line)
    raise typer.Exit(verdict.exit_code)
