"""Define the command that CI needs beside `check` and `report`: join the jobs' results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli_options import JsonOption, print_json
from mlx_preflight.errors import ResultError, UsageError
from mlx_preflight.runner import RUN_ID_VARIABLE


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "merge",
        epilog="Examples:  mlx-preflight merge results --planned planned.json --run-id ci-7-1  ·  "
        "mlx-preflight merge linux mac --planned - --json",
    )(merge)


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Where the jobs' files lie.")
    ],
    planned: Annotated[
        str, typer.Option("--planned", help="File with the JSON list of session ids; - is stdin.")
    ],
    run_id: Annotated[
        str, typer.Option("--run-id", envvar=RUN_ID_VARIABLE, help="Only its files count.")
    ] = "",
    project: Annotated[Path, typer.Option("--project", help="Root of the project.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Join the result files of several jobs, judge the run, and write its reports.

    A planned session without a file, and a file that is not a result of the run, fail it.
    """
    from mlx_preflight import merge as merging

    if not run_id.strip():
        raise UsageError("merge needs the run's id", hint=f"--run-id or {RUN_ID_VARIABLE}")
    root = project.resolve()
    if not root.is_dir():
        raise UsageError(f"{root}: not a folder")
    verdict, document = merging.merge(folders, _text(planned), run_id, root)
    if as_json:
        print_json(document)
    else:
        from mlx_preflight.report import terminal

        terminal.show_report(document, root / ".preflight" / "report.md")
    raise typer.Exit(verdict.exit_code)


def _text(planned: str) -> str:
    """Return the planned list as it was handed over.

    Raises:
        ResultError: It cannot be read.
    """
    try:
        return sys.stdin.read() if planned == "-" else Path(planned).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{planned}: the planned list is unreadable: {error}") from error
