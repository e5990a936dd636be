"""Commands `history` and `runs`: search earlier runs, and maintain their records."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight.cli.options import (
    JsonOption,
    ProjectOption,
    find_state,
    group,
    print_json,
    require_modules,
)
from mlx_preflight.core.errors import ExitCode, PreflightError

runs = group("Search, compare and maintain the run history.")

_BAR = 40

ModelFilter = Annotated[str, typer.Option("--model", help="Only runs of this model.")]
MachineFilter = Annotated[str, typer.Option("--machine", help="Only machines with this text.")]
SinceFilter = Annotated[str, typer.Option("--since", help="Only runs from this day on.")]
WhereFilter = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only runs with `training_peak_bytes < 16e9`; may be repeated."),
]


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        epilog="Example:  mlx-preflight history AC5.5/decode_tokens_per_s --since 2026-01-01"
    )(history)
    app.add_typer(runs, name="runs")
    # The group's earlier name, which scripts and notes still use.
    app.add_typer(runs, name="memory", hidden=True)


def history(
    name: Annotated[str, typer.Argument(help="Such as step_s, or AC6.4/training_peak_bytes.")],
    project: ProjectOption = Path(),
    model: ModelFilter = "",
    machine: MachineFilter = "",
    since: SinceFilter = "",
    where: WhereFilter = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it: .svg, .png or .pdf (extra plot).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one measurement over the recorded runs and flag sudden changes.

    The exit code is 1 when the newest run is flagged.
    """
    from mlx_preflight.history.filters import Filter, ranges

    wanted = Filter(model=model, machine=machine, since=since, ranges=ranges(where or ()))
    manager = _manager(project)
    points = manager.history(name, wanted)
    if said := manager.damage.words():
        typer.echo(said, err=True)
    if plot is not None:
        from mlx_preflight.history.plot import draw

        draw(name, points, plot)
    if as_json:
        print_json([dataclasses.asdict(point) for point in points])
    else:
        most = max(abs(point.value) for point in points) or 1.0
        several = len({(point.model, point.machine) for point in points}) > 1
        for point in points:
            bar = "#" * round(_BAR * abs(point.value) / most)
            flag = f"  << {point.why}" if point.flagged else ""
            whose = f"  {point.model} on {point.machine}" if several else ""
            typer.echo(
                f"{point.started:25} {point.value:>14.6g} {bar:{_BAR}}{whose}{flag}".rstrip()
            )
    raise typer.Exit(ExitCode.of(not points[-1].flagged))


@runs.command(epilog="Example:  mlx-preflight runs status --json")
def status(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Show the number of recorded runs, damaged records, and the state of the index."""
    require_modules("qdrant_client", "snowballstemmer")
    with closing(_manager(project)) as manager:
        _show(manager.status(), as_json)


@runs.command(epilog="Example:  mlx-preflight runs search 'out of memory' --limit 5")
def search(
    text: Annotated[str, typer.Argument(help="Words; empty lists the newest.")] = "",
    project: ProjectOption = Path(),
    run_id: Annotated[str, typer.Option("--run", help="Only this run.")] = "",
    model: ModelFilter = "",
    machine: MachineFilter = "",
    run_status: Annotated[str, typer.Option("--status", help="PASS, FAIL, ERROR, BLOCKED.")] = "",
    verdict: Annotated[
        str, typer.Option("--verdict", help="ready_for_integrator or needs_adapt.")
    ] = "",
    check: Annotated[str, typer.Option("--check", help="Only runs that hold this check.")] = "",
    check_status: Annotated[str, typer.Option("--check-status", help="How that check ended.")] = "",
    version: Annotated[str, typer.Option("--version", help="Of mlx-preflight.")] = "",
    since: SinceFilter = "",
    until: Annotated[str, typer.Option("--until", help="Only runs up to this day.")] = "",
    where: WhereFilter = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=50)] = 10,
    floor: Annotated[float, typer.Option("--floor", min=0, help="Least score of a hit.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Find runs by exact filters and, apart from them, by words."""
    from mlx_preflight.history.filters import Filter, ranges

    if text:
        require_modules("qdrant_client", "snowballstemmer")
    with closing(_manager(project)) as manager:
        wanted = Filter(
            *(run_id, model, machine, run_status, verdict, check, check_status, version),
            *(since, until, ranges(where or ())),
        )
        found = manager.search(text, wanted, limit=limit, floor=floor)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    for hit in found.hits:
        typer.echo(f"{hit.score:8.3f}  {hit.line}" if text else hit.line)
        for what, pairs in (("measured", hit.measured), ("with", hit.settings if where else {})):
            if pairs:
                typer.echo(f"    {what} " + ", ".join(f"{k} {v}" for k, v in pairs.items()))
        if hit.note:
            typer.echo(f"    noted: {hit.note}")
    if found.message:
        typer.echo(found.message, err=True)
    typer.echo(f"{len(found.hits)} of {found.matched}{' and more' if found.truncated else ''}")


@runs.command(epilog="Example:  mlx-preflight runs show RUN --json")
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show a recorded run: checks that did not pass, settings, measurements, notes."""
    from mlx_preflight.history import records

    found = _manager(project).get(run_id)
    if as_json:
        print_json(found)
        return
    typer.echo(records.format_line(found))
    for name, check in found["checks"].items():
        if check["status"] != "PASS":
            typer.echo(f"{name} {check['status']}: {check['reason']}")
    for name, value in {**found["settings"], **found["measurements"]}.items():
        typer.echo(f"{name}: {value}")
    for note in found["notes"]:
        typer.echo(f"noted by {note['who']} on {note['when']}: {note['text']}")


@runs.command(epilog="Example:  mlx-preflight runs compare RUN OTHER")
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN")],
    second: Annotated[str, typer.Argument(metavar="OTHER")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two runs: facts, packages, checks and measurements."""
    found = _manager(project).compare(first, second)
    if as_json:
        print_json(found)
        return
    for part in ("facts", "packages", "checks", "measurements"):
        for name, (before, after) in found[part].items():
            typer.echo(f"{name}: {before} -> {after}")


@runs.command(epilog="Example:  mlx-preflight runs note RUN 'smaller rows helped'")
def note(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    text: Annotated[str, typer.Argument(help="Text of the note.")],
    who: Annotated[str, typer.Option("--who")] = "user",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Add a note to a run; search finds it."""
    made = _manager(project).note(run_id, text, who)
    _show({key: made[key] for key in ("run_id", "who", "when", "text")}, as_json)


@runs.command(epilog="Example:  mlx-preflight runs prune --keep 500")
def prune(
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="Newest runs to keep.")] = None,
    before: Annotated[str, typer.Option("--before", help="Delete runs that started earlier.")] = "",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Delete old runs and their notes."""
    gone = _manager(project).prune(keep=keep, before=before)
    _show({"forgotten": len(gone)}, as_json)


@runs.command(epilog="Example:  mlx-preflight runs export runs.jsonl")
def export(
    path: Annotated[Path, typer.Argument(help="JSONL file to write.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write every valid record to a JSONL file; exit 1 when some are damaged."""
    exported, damage = _manager(project).export(path)
    _show({"exported": exported, "damaged": damage.count, "why": damage.named}, as_json)
    raise typer.Exit(ExitCode.of(not damage.count))


@runs.command("import", epilog="Example:  mlx-preflight runs import runs.jsonl")
def import_(
    path: Annotated[Path, typer.Argument(help="JSONL file to read.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Add the records of a JSONL file; exit 1 when some were refused."""
    new, damage = _manager(project).import_from(path)
    _show({"new": new, "refused": damage.count, "why": damage.named}, as_json)
    raise typer.Exit(ExitCode.of(not damage.count))


@runs.command(epilog="Example:  mlx-preflight runs rebuild")
def rebuild(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Rebuild the index from the records."""
    require_modules("qdrant_client", "snowballstemmer")
    with closing(_manager(project)) as manager:
        _show({"indexed": manager.rebuild()}, as_json)


def remember(state: Path) -> str:
    """Record the run that was just judged; return a message, or an empty text.

    A run is judged with or without a history: a failure here is reported and never fatal.
    """
    from mlx_preflight.history.remember import remember as keep

    try:
        return keep(state)
    except PreflightError as error:
        return f"the run was not recorded in the history: {error}"


def _manager(project: Path) -> Any:
    from mlx_preflight.history.memory_manager import MemoryManager

    find_state(project)  # refuses what is no folder
    return MemoryManager.of_project(project.resolve())


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        for key, value in found.items():
            if isinstance(value, dict):
                typer.echo(f"{key}: " + ", ".join(f"{name} {item}" for name, item in value.items()))
            elif isinstance(value, list):
                typer.echo("\n".join(f"{key}: {item}" for item in value), nl=bool(value))
            else:
                typer.echo(f"{key}: {value}")
