"""Entry point of the server over stdio for the current folder: `python -m mcp_local`."""

from __future__ import annotations

from pathlib import Path

from mcp_local.stdio_server import serve

if __name__ == "__main__":
    serve([Path.cwd()])
