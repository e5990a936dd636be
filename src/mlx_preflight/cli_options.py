"""Hold what several commands share: options, the context of a session, JSON and progress."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight import plan, project_table, register
from mlx_preflight.errors import UsageError
from mlx_preflight.runner import Context, new_run_id

ProjectOption = Annotated[Path, typer.Option("--project", help="Root of the project to judge.")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="Profile, see `list`.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Model folder or hub id instead of the profile's.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget-gb", help="Memory budget in GB (10^9 bytes).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def context_of(
    project: Path,
    profile: str | None = None,
    model: str | None = None,
    budget_gb: float | None = None,
) -> Context:
    """Return what a session run from the command line may read.

    Raises:
        UsageError: No such project, profile or key in its table.
    """
    project = project.resolve()
    settings = project_table.load_settings(project)
    register.off(settings)
    chosen = plan.choose(settings, profile=profile, model=model, budget_gb=budget_gb)
    return Context(
        project=project,
        state=project / ".preflight",
        run_id=new_run_id(),
        profile=chosen,
        settings=settings,
        model=chosen.model,
        evidence=chosen.evidence,
        budget_bytes=int(chosen.budget_gb * 1e9),
        note=note,
    )


def state_of(project: Path) -> Path:
    """Return a project's `.preflight` folder.

    Raises:
        UsageError: The project is no folder.
    """
    project = project.resolve()
    if not project.is_dir():
        raise UsageError(f"{project}: not a folder")
    return project / ".preflight"


def note(line: str) -> None:
    """Show a line of progress beside the output."""
    print(line, file=sys.stderr, flush=True)


def progress(text: str, *, quiet: bool) -> Any:
    """Return a context in which a terminal shows that something is at work."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet).status(text)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, sort_keys=True, indent=1, allow_nan=False))


def need(*modules: str) -> None:
    """Refuse to go on without the extra `mcp`.

    Raises:
        UsageError: One of its modules is not installed.
    """
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"{', '.join(missing)} not installed here", hint="`pip install 'mlx-preflight[mcp]'`"
        )
