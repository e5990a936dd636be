"""Define `mlx-preflight advisories`: answer audits from a database on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.errors import AdvisoryError

advisories = typer.Typer(
    help="Serve advisories to audits without a network.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(advisories, name="advisories")


@advisories.callback()
def _root() -> None:
    """Serve advisories to audits without a network."""


@advisories.command(epilog="Example:  mlx-preflight advisories serve osv-pypi.zip --port 8642")
def serve(
    database: Annotated[Path, typer.Argument(help="Zip or folder of OSV JSON documents.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
) -> None:
    """Answer OSV queries on loopback from a zip or a folder, until Ctrl-C.

    pip-audit takes the address as `-s osv --osv-url`, a project's table as `audit-url`.
    """
    from mlx_preflight.advisories.database import Database
    from mlx_preflight.advisories.server import Server

    found = Database.open(database)
    try:
        server = Server(found, port)
    except OSError as error:
        raise AdvisoryError(f"port {port}: {error}", hint="take another --port") from error
    typer.echo(f"serving on {server.url}")
    typer.echo(f"{database}: {found.dated}; Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("ended", err=True)
    finally:
        server.server_close()
