"""Commands around one run: list, check, summary, report, and merge for CI.

Reports are imported by the command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight.cli import history
from mlx_preflight.cli.options import (
    JsonOption,
    ProjectOption,
    PythonOption,
    expanded,
    find_state,
    load_context,
    print_json,
    run_check,
)
from mlx_preflight.core.errors import ExitCode, PreflightError, ResultError, UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import profiles, register, settings
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run.context import RUN_ID_VARIABLE, new_run_id

_RENDERERS = {
    **{name: name for name in ("markdown", "html", "junit", "sarif")},
    "summary": "markdown",
}
"""Format of `report` → module that renders it; a step summary is the capped Markdown."""


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("list", epilog="Example:  mlx-preflight list --json")(list_plan)
    app.command(
        epilog="Examples:  mlx-preflight check gate2-lint  ·  mlx-preflight check AC4.3 --json"
    )(check)
    app.command(epilog="Example:  mlx-preflight summary --json")(summary)
    app.command(
        epilog="Examples:  mlx-preflight report --format markdown > report.md  ·  "
        'mlx-preflight report --format summary >> "$GITHUB_STEP_SUMMARY"'
    )(report)
    app.command(
        "merge",
        epilog="Examples:  mlx-preflight merge results --planned planned.json --run-id ci-7-1  ·  "
        "mlx-preflight merge linux mac --planned - --json",
    )(merge)


def list_plan(as_json: JsonOption = False) -> None:
    """List every session and check of the plan, and the profiles."""
    if as_json:
        print_json(
            {
                "sessions": [
                    {
                        "id": item.id,
                        "title": item.title,
                        "tag": item.tag,
                        "required": item.required,
                        "checks": [
                            # No check is blocked by the register; readers know the key.
                            {"id": c.id, "title": c.title, "blocked": None}
                            for c in item.checks
                        ],
                    }
                    for item in register.SESSIONS
                ],
                "profiles": {
                    name: {"model": p.model, "evidence": p.evidence, "budget_gb": p.budget_gb}
                    for name, p in profiles.PROFILES.items()
                },
            }
        )
        return
    from mlx_preflight.report import screen

    screen.show_plan(register.SESSIONS, profiles.PROFILES)


@expanded
def check(
    check_id: Annotated[str, typer.Argument(metavar="ID", help="Session or check id.")],
    project: ProjectOption = Path(),
    *,
    options: RunOptions,
    python: PythonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one session of the plan and write its result file.

    It judges the environment of this venv, or of another interpreter.
    A check id runs its whole session; only that check decides the exit code then.
    """
    needed = register.needs_project(register.find_session(check_id)[0])
    judged = load_context(project, options, python, needs_table=needed)
    run_check(check_id, judged, as_json=as_json)


def summary(
    project: ProjectOption = Path(),
    run_id: Annotated[
        str, typer.Option("--run-id", help="Judge this run and no other; default: the last.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Judge the last run, write its reports (JSON, Markdown, JUnit, SARIF), show the verdict."""
    from mlx_preflight.report.write import summarize

    state = find_state(project)
    verdict, document = summarize(state, run_id or new_run_id(), only=bool(run_id))
    if as_json:
        print_json(document)
    else:
        from mlx_preflight.report import terminal

        terminal.show_report(document, Workspace(state).markdown)
    if said := history.remember(state):
        typer.echo(said, err=True)
    for line in _hand_off(document, state.parent):
        typer.echo(f"hand-off: {line}", err=as_json)
    raise typer.Exit(verdict.exit_code)


def report(
    project: ProjectOption = Path(),
    form: Annotated[
        str,
        typer.Option("--format", help="terminal, markdown, html, summary, junit, sarif or json."),
    ] = "terminal",
    as_json: JsonOption = False,
    stale_ok: Annotated[
        bool, typer.Option("--stale-ok", help="Accept a report of another tree than this one.")
    ] = False,
) -> None:
    """Show the last report again; the exit code is its verdict's.

    Where the project's tree is no longer the one that was judged, it says so and exits with 3.
    """
    from mlx_preflight.report import document as documents

    forms = ("terminal", "json", *_RENDERERS)
    if form not in forms:
        raise UsageError(f"unknown format {form!r}{suggest(form, forms)}")
    state = find_state(project)
    try:
        data = documents.read(Workspace(state).report)
    except PreflightError as error:
        if form == "summary" and not as_json:
            from mlx_preflight.report import markdown

            # A step summary that stays empty would say nothing at all.
            typer.echo(markdown.without_report(error), nl=False)
        raise
    if as_json or form == "json":
        print_json(data)
    elif form == "terminal":
        from mlx_preflight.report import terminal

        terminal.show_report(data, Workspace(state).markdown)
    else:
        renderer = importlib.import_module(f"mlx_preflight.report.{_RENDERERS[form]}")
        typer.echo(renderer.render(data), nl=False)
    if (outdated := _outdated(data, state)) and not stale_ok:
        typer.echo(f"{outdated}; run `nox -s {data['group']}` again, or add --stale-ok", err=True)
        raise typer.Exit(int(data["exit_code"]) or int(ExitCode.NOT_JUDGED))
    raise typer.Exit(int(data["exit_code"]))


def _outdated(data: dict[str, Any], state: Path) -> str:
    """Return why a report may not be about what is here now, or an empty text."""
    from mlx_preflight.run import tree

    if not os.access(state, os.W_OK):
        return f"{state} cannot be written, so a later run may have left no report"
    # A training run, or a model, is judged wherever the folder's commit stands.
    judging = {item.id for item in register.SESSIONS if register.needs_project(item)}
    trees = [item.get("git", {}) for name, item in data["sessions"].items() if name in judging]
    return tree.difference(trees, tree.state(state.parent))


def _hand_off(document: dict[str, Any], project: Path) -> tuple[str, ...]:
    """Write the files for the next agent where the project's table asks for them."""
    from mlx_preflight.handoff import handoff

    if not (project / "pyproject.toml").is_file():
        return ()
    return handoff.write(document, project, settings.load_settings(project))


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders with the jobs' files.")
    ],
    planned: Annotated[
        str, typer.Option("--planned", help="File with the JSON list of session ids; - is stdin.")
    ],
    run_id: Annotated[
        str, typer.Option("--run-id", envvar=RUN_ID_VARIABLE, help="Only its files count.")
    ] = "",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Join the result files of several jobs, judge the run, and write its reports.

    A planned session without a file, and a file that is not a result of the run, fail it.
    """
    from mlx_preflight.report.write import write_reports
    from mlx_preflight.run import merge as merging

    if not run_id.strip():
        raise UsageError("merge needs the run's id", hint=f"--run-id or {RUN_ID_VARIABLE}")
    state = find_state(project)
    judged = merging.merge(folders, _text(planned), run_id, project.resolve())
    document = write_reports(state, judged)
    if as_json:
        print_json(document)
    else:
        from mlx_preflight.report import terminal

        terminal.show_report(document, Workspace(state).markdown)
    raise typer.Exit(judged.verdict.exit_code)


def _text(planned: str) -> str:
    """Return the planned list as it was handed over.

    Raises:
        ResultError: It cannot be read.
    """
    try:
        return sys.stdin.read() if planned == "-" else Path(planned).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{planned}: the planned list is unreadable: {error}") from error
