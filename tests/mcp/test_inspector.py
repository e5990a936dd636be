"""An independent client, the MCP Inspector's command line, understands the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mcp_support.project import make

pytestmark = [
    pytest.mark.slow,
    # Where CI runs there must be npm: a check that is left out there is left out for good.
    pytest.mark.skipif(
        shutil.which("npm") is None and "CI" not in os.environ,
        reason="needs npm, to install the Inspector",
    ),
]

PACKAGES = ("@modelcontextprotocol/inspector@2.12.0", "node@24")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the Inspector and the Node that it wants."""
    folder = tmp_path_factory.mktemp("inspector")
    (folder / "package.json").write_text('{"private": true}')
    npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *PACKAGES]
    subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder


def inspect(tools: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Inspector against a server of the project."""
    home = tools / "home"
    home.mkdir(exist_ok=True)
    node = tools / "node_modules" / "node" / "bin" / "node"
    client = [str(node), str(tools / "node_modules" / ".bin" / "mcp-inspector"), "--cli", "-q"]
    server = [sys.executable, "-m", "mlx_preflight", "mcp", "--project", str(project)]
    return subprocess.run(
        [*client, "--format", "json", *arguments, "--", *server],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_tools_are_listed_without_a_fault(tools: Path, tmp_path: Path, era: str) -> None:
    """`--strict` finds nothing wrong with any schema, in both eras of the protocol."""
    done = inspect(
        *(tools, make(tmp_path / "project"), "--method", "tools/list", "--strict"),
        *("--protocol-era", era),
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["result"]["tools"]) == 14
    assert "Warning" not in done.stderr


def test_tools_are_called_and_refuse(tools: Path, tmp_path: Path) -> None:
    """A call answers structured data; a wrong one exits 5 with the reason."""
    project = make(tmp_path / "project")
    call = ("--method", "tools/call", "--tool-name")
    done = inspect(tools, project, *call, "explain_check", "--tool-arg", "check=GATE1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["structuredContent"]["session"] == "gate1-format"
    wrong = inspect(tools, project, *call, "explain_check", "--tool-arg", "check=GATE11")
    assert wrong.returncode == 5
    assert "did you mean" in wrong.stdout + wrong.stderr
