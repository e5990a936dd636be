"""Options that several commands share, and the context, output and progress made from them."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from mlx_preflight.cli import json_output
from mlx_preflight.core.errors import EstimateError, UsageError
from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import GIGA
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan.options import BUDGET_HELP, MOST_GB, RunOptions, flag_of
from mlx_preflight.run import context
from mlx_preflight.run.context import Context
from mlx_preflight.run.session import run_session

NOTE_CHARS = 1000
"""Longest line of progress."""

ProjectOption = Annotated[Path, typer.Option("--project", help="Root of the project to judge.")]
BudgetOption = Annotated[float | None, typer.Option("--budget-gb", help=BUDGET_HELP)]
PythonOption = Annotated[
    Path | None,
    typer.Option("--python", help="Interpreter of the environment to judge; default: this one."),
]
RanksOption = Annotated[
    int | None,
    typer.Option("--ranks", min=1, help="Processes on this machine that share the training."),
]
HostfileOption = Annotated[
    Path | None,
    typer.Option("--hostfile", help="Hosts of mlx.launch that share the training."),
]
Model = Annotated[
    str, typer.Argument(help="Built-in name, config.json, folder, hub id or `embedded`.")
]

ChipOption = Annotated[
    str, typer.Option("--chip", help="Chip whose speed counts, such as `M1 Max`; default: this.")
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses of options: each of their fields becomes an option.

    A field comes from `plan.options.option`, which names its help and its flag.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind):
            groups[parameter.name] = kind
            parameters += _parameters(kind)
        else:
            made = parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY)
            parameters.append(made)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            own = {item.name: given.pop(item.name) for item in dataclasses.fields(kind)}
            given[name] = kind(**own)
        command(**given)

    run.__annotations__ = {item.name: item.annotation for item in parameters}
    # Typer reads the signature, and there is no other way to give a function one.
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _parameters(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        flag = item.metadata["flag"] or flag_of(item.name)
        least = item.metadata["least"]
        shown = typer.Option(item.default, flag, help=item.metadata["help"], min=least)
        yield inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=shown,
            annotation=hints[item.name],
        )


def group(text: str) -> typer.Typer:
    """Return a group of commands, with plain help as the application has."""
    return typer.Typer(help=text, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def load_context(
    project: Path,
    options: RunOptions | None = None,
    python: Path | None = None,
    *,
    needs_table: bool = True,
) -> Context:
    """Return what a session run from the command line may read.

    Args:
        project: Root of the project, or a folder.
        options: What is judged.
        python: Interpreter of the environment that is judged; None takes this one.
        needs_table: Whether a folder without pyproject.toml is refused.

    Raises:
        UsageError: No such project, profile or key in its table.
    """
    project = project.resolve()
    settings = project_table.load_settings(project, required=needs_table)
    register.off(settings)
    options = options or RunOptions()
    chosen = context.choose(settings, **options.choice())
    # Not resolved: the interpreter of a venv is a link.
    judged = python.absolute() if python else Path(sys.executable)
    training = context.training_request(settings, options)
    return Context.of(
        project,
        settings,
        chosen,
        python=judged,
        note=note,
        training=training,
        finish=options.finish(),
    )


def run_check(check_id: str, judged: Context, *, as_json: bool) -> NoReturn:
    """Run the session of an id, show it, and exit with its status or that of one check."""
    session, single = register.find_session(check_id)
    finished = run_session(session, judged)
    if as_json:
        print_json(finished.to_json())
    else:
        from mlx_preflight.report import screen

        screen.show_session(finished)
    status = finished.status
    if single is not None:
        status = next(item.status for item in finished.checks if item.id == single.id)
    raise typer.Exit(status.exit_code)


def find_state(project: Path) -> Path:
    """Return a project's `.preflight` folder.

    Raises:
        UsageError: The project is no folder.
    """
    project = project.resolve()
    if not project.is_dir():
        raise UsageError(f"{project}: not a folder")
    return Workspace.of(project).folder


def show_facts(title: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """Show facts as one JSON document or as a table."""
    if as_json:
        print_json(facts)
    else:
        from mlx_preflight.report import screen

        screen.show_facts(title, facts)


def bytes_of(size_gb: float | None, name: str = "budget-gb") -> int | None:
    """Return a size in bytes that was typed in GB; None where none was.

    Raises:
        EstimateError: It is no size, NaN and infinity included.
    """
    if size_gb is None:
        return None
    if not 0 < size_gb < MOST_GB:  # (refuses NaN as well)
        raise EstimateError(name, size_gb, "a number of GB above 0 and below a million")
    return int(size_gb * GIGA)


def note(line: str) -> None:
    """Show a line of progress beside the output; names in it are anybody's."""
    print(one_line(line, NOTE_CHARS), file=sys.stderr, flush=True)


def progress(text: str, *, quiet: bool) -> Any:
    """Return a context in which a terminal shows that something is in progress."""
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True, quiet=quiet).status(Text(one_line(text)))


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    json_output.print_document(document)


def require_modules(*modules: str) -> None:
    """Refuse to run without the extra `mcp`.

    Raises:
        UsageError: One of its modules is not installed.
    """
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"{', '.join(missing)} not installed here", hint="`pip install 'mlx-preflight[mcp]'`"
        )
