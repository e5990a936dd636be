"""Define the commands. Each is thin: parse, call one function, print its result.

Models and reports are imported by the command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight import (
    __version__,
    cli_advisories,
    cli_ci,
    cli_compare,
    cli_gates,
    cli_history,
    cli_init,
    cli_mcp,
    cli_memory,
    cli_model,
    plan,
    project_table,
    register,
)
from mlx_preflight.cli_options import (
    BudgetOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    ProjectOption,
    context_of,
    print_json,
    state_of,
)
from mlx_preflight.errors import PreflightError, UsageError
from mlx_preflight.result import Status
from mlx_preflight.runner import new_run_id, run_session

app = typer.Typer(
    name="mlx-preflight",
    help="Can I fine-tune this model on this machine, and is everything green before I start?",
    epilog="Examples:  mlx-preflight list  ·  mlx-preflight check ac4-loading --json  ·  "
    "mlx-preflight report",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: rich would cost half of the 0.3 s that `--help` may take.
    rich_markup_mode=None,
)

_RENDERERS = {
    **{name: name for name in ("markdown", "html", "junit", "sarif")},
    "summary": "markdown",
}
"""Format of `report` → module that renders it; a step summary is the capped Markdown."""

EXIT_CODES = {Status.PASS: 0, Status.FAIL: 1, Status.ERROR: 3, Status.BLOCKED: 3}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mlx-preflight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Can I fine-tune this model on this machine, and is everything green before I start?"""


@app.command("list", epilog="Example:  mlx-preflight list --json")
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
                            {"id": c.id, "title": c.title, "blocked": c.blocked or None}
                            for c in item.checks
                        ],
                    }
                    for item in register.SESSIONS
                ],
                "profiles": {
                    name: {"model": p.model, "evidence": p.evidence, "budget_gb": p.budget_gb}
                    for name, p in plan.PROFILES.items()
                },
            }
        )
        return
    from mlx_preflight.report import screen

    screen.show_plan(register.SESSIONS, plan.PROFILES)


@app.command(
    epilog="Examples:  mlx-preflight check gate2-lint  ·  mlx-preflight check AC4.3 --json"
)
def check(
    check_id: Annotated[str, typer.Argument(metavar="ID", help="Session or check id.")],
    project: ProjectOption = Path(),
    profile: ProfileOption = None,
    model: ModelOption = None,
    budget_gb: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one session of the plan in this venv and write its result file.

    A check id runs its whole session; only that check decides the exit code then.
    """
    session, single = register.find_session(check_id)
    context = context_of(project, profile, model, budget_gb)
    finished = run_session(session, context)
    if as_json:
        print_json(finished.to_json())
    else:
        from mlx_preflight.report import screen

        screen.show_session(finished)
    status = finished.status
    if single is not None:
        status = next(item.status for item in finished.checks if item.id == single.id)
    raise typer.Exit(EXIT_CODES[status])


@app.command(epilog="Example:  mlx-preflight summary --json")
def summary(
    project: ProjectOption = Path(),
    run_id: Annotated[
        str, typer.Option("--run-id", help="Judge this run and no other; default: the last.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Judge the last run, write its reports (JSON, Markdown, JUnit, SARIF), show the verdict."""
    from mlx_preflight.summary import summarize

    state = state_of(project)
    verdict, document = summarize(state, run_id or new_run_id(), only=bool(run_id))
    if as_json:
        print_json(document)
    else:
        from mlx_preflight.report import terminal

        terminal.show_report(document, state / "report.md")
    if said := cli_history.remember(state):
        typer.echo(said, err=True)
    for line in _hand_off(document, state.parent):
        typer.echo(f"hand-off: {line}", err=as_json)
    raise typer.Exit(verdict.exit_code)


@app.command(
    epilog="Examples:  mlx-preflight report --format markdown > report.md  ·  "
    'mlx-preflight report --format summary >> "$GITHUB_STEP_SUMMARY"'
)
def report(
    project: ProjectOption = Path(),
    form: Annotated[
        str,
        typer.Option("--format", help="terminal, markdown, html, summary, junit, sarif or json."),
    ] = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Show the last report again; the exit code is its verdict's."""
    from mlx_preflight.report import document as documents

    forms = ("terminal", "json", *_RENDERERS)
    if form not in forms:
        raise UsageError(f"unknown format {form!r}{plan.suggest(form, forms)}")
    state = state_of(project)
    try:
        data = documents.read(state / "report.json")
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

        terminal.show_report(data, state / "report.md")
    else:
        renderer = importlib.import_module(f"mlx_preflight.report.{_RENDERERS[form]}")
        typer.echo(renderer.render(data), nl=False)
    raise typer.Exit(int(data["exit_code"]))


def _hand_off(document: dict[str, Any], project: Path) -> tuple[str, ...]:
    """Write the files for the next agent where the project's table asks for them."""
    from mlx_preflight.report import handoff

    if not (project / "pyproject.toml").is_file():
        return ()
    return handoff.write(document, project, project_table.load_settings(project))


cli_model.attach(app)
cli_memory.attach(app)
cli_gates.attach(app)
cli_ci.attach(app)
cli_compare.attach(app)
cli_init.attach(app)
cli_advisories.attach(app)
cli_history.attach(app)
cli_mcp.attach(app)
