"""Define `mcp`, `history` and `memory`: serve agents, and ask what earlier runs showed."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight.cli_options import JsonOption, ProjectOption, print_json
from mlx_preflight.errors import PreflightError, UsageError

memory = typer.Typer(
    help="Keep the memory of runs: status, notes, prune, export, import, rebuild.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_BAR = 40


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("mcp", epilog="Example:  mlx-preflight mcp --project .")(mcp)
    app.command(
        epilog="Example:  mlx-preflight history AC6.2/peak_bytes --where 'peak_bytes < 16e9'"
    )(history)
    app.add_typer(memory, name="memory")


def mcp(
    project: Annotated[
        list[Path] | None, typer.Option("--project", help="Project to serve; may be repeated.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of stdio.")] = False,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8765,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="NAME:PORT that clients may ask for; beyond loopback."),
    ] = None,
) -> None:
    """Serve the plan to agents over MCP, on stdio or loopback HTTP.

    Over HTTP every request needs the bearer token of PREFLIGHT_MCP_TOKEN, or of
    `.preflight/mcp-token`, which is made for you.
    """
    _need("mcp", "qdrant_client", "snowballstemmer")
    projects = project or [Path()]
    if not http:
        from mcp_local import stdio_server

        stdio_server.serve(projects)
        return
    from mcp_local import http_server
    from mcp_local.projects import Projects

    http_server.security(host, port, allow_host or ())
    first = Projects(tuple(projects)).folders[0]
    secret, where = http_server.token(first / ".preflight")
    typer.echo(f"http://{host}:{port}/mcp, with the token of {where}", err=True)
    http_server.serve(projects, host, port, secret, allow_host or ())


def history(
    name: Annotated[str, typer.Argument(help="Measurement: peak_bytes, or AC6.2/peak_bytes.")],
    project: ProjectOption = Path(),
    model: Annotated[str, typer.Option("--model", help="Only runs of this model.")] = "",
    machine: Annotated[str, typer.Option("--machine", help="Only machines with this text.")] = "",
    since: Annotated[str, typer.Option("--since", help="Only runs from this day on.")] = "",
    where: Annotated[
        list[str] | None, typer.Option("--where", help="Only runs with `peak_bytes < 16e9`.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it: .svg, .png or .pdf (extra plot).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow one measurement over the remembered runs and flag sudden changes.

    The exit code is 1 when the newest run is flagged.
    """
    from mcp_local.filters import Filter, ranges

    wanted = Filter(model=model, machine=machine, since=since, ranges=ranges(where or ()))
    points = _manager(project).history(name, wanted)
    if plot is not None:
        from mcp_local.plot import draw

        draw(name, points, plot)
    if as_json:
        print_json([dataclasses.asdict(point) for point in points])
    else:
        most = max(abs(point.value) for point in points) or 1.0
        for point in points:
            bar = "#" * round(_BAR * abs(point.value) / most)
            flag = f"  << {point.why}" if point.flagged else ""
            typer.echo(f"{point.started:25} {point.value:>14.6g} {bar}{flag}")
    raise typer.Exit(1 if points[-1].flagged else 0)


@memory.callback()
def _root() -> None:
    """Keep the memory of runs."""


@memory.command(epilog="Example:  mlx-preflight memory status --json")
def status(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Say how many runs are remembered, what is damaged, and how the index stands."""
    _need("qdrant_client", "snowballstemmer")
    manager = _manager(project)
    try:
        found = manager.status()
    finally:
        manager.close()
    _show(found, as_json)


@memory.command(epilog="Example:  mlx-preflight memory search 'out of memory' --limit 5")
def search(
    text: Annotated[str, typer.Argument(help="Words; empty lists the newest.")] = "",
    project: ProjectOption = Path(),
    model: Annotated[str, typer.Option("--model")] = "",
    run_status: Annotated[str, typer.Option("--status", help="PASS, FAIL, ERROR, BLOCKED.")] = "",
    check: Annotated[str, typer.Option("--check")] = "",
    where: Annotated[list[str] | None, typer.Option("--where", help="`peak_bytes < 16e9`.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=50)] = 10,
    as_json: JsonOption = False,
) -> None:
    """Find runs by exact filters and, apart from them, by words."""
    from mcp_local.filters import Filter, ranges

    if text:
        _need("qdrant_client", "snowballstemmer")
    manager = _manager(project)
    try:
        wanted = Filter(model=model, status=run_status, check=check, ranges=ranges(where or ()))
        found = manager.search(text, wanted, limit=limit)
    finally:
        manager.close()
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    for hit in found.hits:
        typer.echo(f"{hit.score:8.3f}  {hit.line}" if text else hit.line)
    if found.message:
        typer.echo(found.message, err=True)
    typer.echo(f"{len(found.hits)} of {found.matched}{' and more' if found.truncated else ''}")


@memory.command(epilog="Example:  mlx-preflight memory note RUN 'smaller rows helped'")
def note(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    text: Annotated[str, typer.Argument(help="What to remember about it.")],
    who: Annotated[str, typer.Option("--who")] = "user",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Keep a note on a run; search finds it."""
    made = _manager(project).note(run_id, text, who)
    _show({key: made[key] for key in ("run_id", "who", "when", "text")}, as_json)


@memory.command(epilog="Example:  mlx-preflight memory prune --keep 500")
def prune(
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="Newest runs to keep.")] = None,
    before: Annotated[str, typer.Option("--before", help="Forget what started earlier.")] = "",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Forget old runs and their notes."""
    gone = _manager(project).prune(keep=keep, before=before)
    _show({"forgotten": len(gone)}, as_json)


@memory.command(epilog="Example:  mlx-preflight memory export runs.jsonl")
def export(
    path: Annotated[Path, typer.Argument(help="JSONL file to write.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write every record to a JSONL file."""
    _show({"exported": _manager(project).export(path)}, as_json)


@memory.command("import", epilog="Example:  mlx-preflight memory import runs.jsonl")
def import_(
    path: Annotated[Path, typer.Argument(help="JSONL file to read.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Add the records of a JSONL file; exit 1 when some were refused."""
    new, damage = _manager(project).import_from(path)
    _show({"new": new, "refused": damage.count, "why": damage.named}, as_json)
    raise typer.Exit(1 if damage.count else 0)


@memory.command(epilog="Example:  mlx-preflight memory rebuild")
def rebuild(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Make the index anew from the records."""
    _need("qdrant_client", "snowballstemmer")
    manager = _manager(project)
    try:
        _show({"indexed": manager.rebuild()}, as_json)
    finally:
        manager.close()


def remember(state: Path) -> str:
    """Record the run that was just judged; return what to say, or an empty text.

    A run is judged with or without a memory: what goes wrong here is said, never fatal.
    """
    from mcp_local.remember import remember as keep

    try:
        return keep(state)
    except PreflightError as error:
        return f"the run is not remembered: {error}"


def _manager(project: Path) -> Any:
    from mcp_local.memory_manager import MemoryManager

    root = project.resolve()
    if not root.is_dir():
        raise UsageError(f"{root}: not a folder")
    return MemoryManager.of_project(root)


def _need(*modules: str) -> None:
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"{', '.join(missing)} not installed here", hint="`pip install 'mlx-preflight[mcp]'`"
        )


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        for key, value in found.items():
            typer.echo(f"{key}: {value}")
