"""Command `mcp`: serve the plan to agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli.options import require_modules
from mlx_preflight.core.workspace import Workspace


def attach(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("mcp", epilog="Example:  mlx-preflight mcp --project .")(mcp)


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
    require_modules("mcp", "qdrant_client", "snowballstemmer")
    projects = project or [Path()]
    if not http:
        from mcp_local import stdio_server

        stdio_server.serve(projects)
        return
    from mcp_local import http_server
    from mcp_local.projects import Projects

    http_server.security(host, port, allow_host or ())
    first = Projects(tuple(projects)).folders[0]
    secret, where = http_server.token(Workspace.of(first).folder)
    typer.echo(f"http://{host}:{port}/mcp, with the token of {where}", err=True)
    http_server.serve(projects, host, port, secret, allow_host or ())
