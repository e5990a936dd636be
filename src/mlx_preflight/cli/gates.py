"""Commands around the gates: record a baseline, prove that each can fail, serve advisories."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight.cli.options import (
    JsonOption,
    ProjectOption,
    PythonOption,
    group,
    load_context,
    note,
    print_json,
    run_check,
    show_facts,
)
from mlx_preflight.core.errors import AdvisoryError, UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.plan import register

baseline = group("Record the findings and tests that the gates compare with.")
advisories = group("Serve advisories to audits without a network.")


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(baseline, name="baseline")
    app.add_typer(advisories, name="advisories")
    app.command(
        "selftest",
        epilog="Examples:  mlx-preflight selftest --json  ·  "
        "mlx-preflight selftest --all --session gate4-unit",
    )(selftest)


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
    python: PythonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write .baselines/KIND.json; growing beyond an existing one needs a reason."""
    from mlx_preflight.gates.baselines import recording

    if kind not in recording.GATES:
        raise UsageError(f"unknown baseline {kind!r}{suggest(kind, recording.GATES)}")
    # What mypy and pytest find depends on what is installed: the gate's own venv, if it is there.
    venv = project.resolve() / ".nox" / recording.GATES[kind] / "bin" / "python"
    context = load_context(project, python=python or (venv if venv.exists() else None))
    done = recording.record(kind, context, accept_new=accept_new, reason=reason)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        typer.echo(f"{done.path}: {done.total} recorded, {done.added} new, {done.removed} gone")


def selftest(
    project: ProjectOption = Path(),
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Plant a defect and a clean neighbour for every check.")
    ] = False,
    session: Annotated[
        list[str] | None, typer.Option("--session", help="With --all: those of this session only.")
    ] = None,
    kills: Annotated[
        int, typer.Option("--kills", min=0, help="With --all: runs killed at a random moment.")
    ] = 0,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="With --all: processes; 0: one for each CPU.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="With --all: file for the result; other sessions in it stay."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plant one fault per gate in a sample, and see that exactly its gate turns red.

    It runs the tools of this venv; `nox -s selftest` makes a venv that has them all.
    With --all every check of the plan is tried, in a checkout of mlx-preflight.
    """
    if not everything and (session or kills or workers or output):
        raise UsageError("--session, --kills, --workers and --output need --all")
    if not everything:
        run_check(register.SELFTEST, load_context(project), as_json=as_json)
    from mlx_preflight.selftest.injection import figures, harness

    found = harness.run(harness.chosen(session or ()), count=kills, workers=workers, note=note)
    if output is not None:
        harness.write(output, found)
    if as_json:
        print_json(found)
    else:
        _show_faults(found)
    raise typer.Exit(int(bool(figures.problems(found))))


def _show_faults(found: dict[str, Any]) -> None:
    from mlx_preflight.selftest.injection import figures

    for line in figures.problems(found):
        typer.echo(line)
    show_facts("planted faults", {**found["figures"], "seconds": found["seconds"]}, as_json=False)


@advisories.command(epilog="Example:  mlx-preflight advisories serve osv-pypi.zip --port 8642")
def serve(
    database: Annotated[Path, typer.Argument(help="Zip or folder of OSV JSON documents.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
) -> None:
    """Answer OSV queries on loopback from a zip or a folder, until Ctrl-C.

    pip-audit takes the address as `-s osv --osv-url`, a project's table as `audit-url`.
    """
    from mlx_preflight.gates.advisories.database import Database
    from mlx_preflight.gates.advisories.server import Server

    found = Database.open(database)
    try:
        server = Server(found, port)
    except OSError as error:
        raise AdvisoryError(f"port {port}: {error}", hint="take another --port") from error
    typer.echo(f"serving on {server.url}")
    typer.echo(f"{database}: {found.age}; Ctrl-C stops it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
    finally:
        server.server_close()
