"""Command `init`: bring the gates to another repository."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli.options import JsonOption, note, print_json
from mlx_preflight.core.errors import ExitCode


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "init", epilog="Examples:  mlx-preflight init --dry-run  ·  mlx-preflight init ../project"
    )(init)


def init(
    project: Annotated[Path, typer.Argument(help="Root of the repository.")] = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the changes as a diff, write nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Change existing files without asking.")
    ] = False,
    workflow: Annotated[
        bool, typer.Option("--workflow/--no-workflow", help="Write a GitHub workflow.")
    ] = True,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Record the existing findings.")
    ] = True,
    tests_minutes: Annotated[
        int,
        typer.Option("--tests-minutes", min=1, help="Go on without a baseline of tests then."),
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """Write a noxfile, the settings table, a workflow and baselines into a repository.

    Existing files are only ever added to, and only after you agreed.
    """
    from mlx_preflight.adopt import proposal, survey
    from mlx_preflight.adopt.baselines import record_baselines
    from mlx_preflight.core.json_file import write_text

    root = project.resolve()
    seen = survey.survey_project(root)
    changes = list(proposal.changes(root, seen, workflow=workflow))
    say: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
    say(f"{root}: {seen.layout} layout, coverage of {seen.source}, default group {seen.group}")
    for name, reason in seen.off.items():
        say(f"off: {name}: {reason}")
    remarks = list(proposal.remarks(root, seen))
    for remark in remarks:
        say(f"note: {remark}")
    written, left = [], []
    for change in changes:
        if dry_run:
            say(change.diff())
        elif change.before is None or yes or _agreed(change.path, as_json):
            write_text(root / change.path, change.after)
            say(f"{'wrote' if change.before is None else 'added to'} {change.path}: {change.why}")
            written.append(change.path)
        else:
            say(f"left {change.path} as it is; --yes adds {change.why}")
            left.append(change.path)
    recorded: dict[str, str] = {}
    if baselines and not dry_run and not left:
        recorded = record_baselines(root, note, tests_minutes)
        for kind, text in recorded.items():
            say(f"baseline of {kind}: {text}")
    if as_json:
        document = {
            "layout": seen.layout,
            "off": seen.off,
            "proposed": [change.path for change in changes],
            "written": written,
            "left": left,
            "baselines": recorded,
            "notes": remarks,
        }
        print_json(document)
    elif not dry_run:
        say(f"next: `nox -s {seen.group}`" if changes else "nothing was missing")
    raise typer.Exit(ExitCode.of(not left))


def _agreed(path: str, as_json: bool) -> bool:
    """Ask before an existing file is changed; without a person the answer is no."""
    return not as_json and sys.stdin.isatty() and typer.confirm(f"add to {path}?")
