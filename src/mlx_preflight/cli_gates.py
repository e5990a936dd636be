"""Define the commands around the gates: record a baseline, prove that each gate can fail."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight import plan
from mlx_preflight.cli_options import JsonOption, ProjectOption, context_of, print_json
from mlx_preflight.errors import UsageError

baseline = typer.Typer(
    help="Record the findings and tests that the gates compare with.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(baseline, name="baseline")
    app.command("selftest", epilog="Example:  mlx-preflight selftest --json")(selftest)


@baseline.callback()
def _root() -> None:
    """Record the findings and tests that the gates compare with."""


@baseline.command(
    epilog="Examples:  mlx-preflight baseline record lint  ·  "
    "mlx-preflight baseline record types --accept-new --reason 'typed in June'"
)
def record(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="lint, types or tests.")],
    project: ProjectOption = Path(),
    accept_new: Annotated[
        bool, typer.Option("--accept-new", help="Accept more than is recorded; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why more is accepted.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write .baselines/KIND.json; growing beyond an existing one needs a reason."""
    from mlx_preflight.gates import recording

    if kind not in recording.GATES:
        raise UsageError(f"unknown baseline {kind!r}{plan.suggest(kind, recording.GATES)}")
    context = context_of(project)
    python = context.project / ".nox" / recording.GATES[kind] / "bin" / "python"
    # What mypy finds depends on what is installed, so the gate's own venv must look.
    if python.exists() and python.parent.parent.resolve() != Path(sys.prefix).resolve():
        arguments = ["baseline", "record", kind, "--project", str(context.project)]
        arguments += ["--accept-new"] if accept_new else []
        arguments += ["--reason", reason] if reason else []
        arguments += ["--json"] if as_json else []
        command = [str(python), "-m", "mlx_preflight", *arguments]
        raise typer.Exit(subprocess.run(command, env=os.environ, check=False).returncode)
    done = recording.record(kind, context, accept_new=accept_new, reason=reason)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        typer.echo(f"{done.path}: {done.total} recorded, {done.added} new, {done.removed} gone")


def selftest(
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Plant one fault per gate in a sample, and see that exactly its gate turns red.

    It runs the tools of this venv; `nox -s selftest` makes a venv that has them all.
    """
    from mlx_preflight import cli

    cli.check("selftest", project=project, as_json=as_json)
