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
    done = subprocess.run(npm, cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
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


CALLS = [
    ("list_plan", (), "sessions"),
    ("explain_check", ("check=GATE1",), "proves"),
    ("index_status", (), "records"),
    ("search_runs", ("limit=5",), "hits"),
    ("estimate_memory", ("model=qwen2.5-coder-0.5b", "max_seq_length=64"), "document"),
]


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize(("tool", "arguments", "key"), CALLS, ids=[call[0] for call in CALLS])
def test_tools_are_called(
    tools: Path, tmp_path: Path, era: str, tool: str, arguments: tuple[str, ...], key: str
) -> None:
    """Each answers structured data in both eras of the protocol."""
    given = [part for item in arguments for part in ("--tool-arg", item)]
    done = inspect(
        *(tools, make(tmp_path / "project"), "--method", "tools/call", "--tool-name", tool),
        *(*given, "--protocol-era", era),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert key in json.loads(done.stdout)["result"]["structuredContent"]


@pytest.mark.parametrize(
    ("tool", "argument", "said"),
    [
        ("explain_check", "check=GATE11", "did you mean"),
        ("explain_check", "chekc=GATE1", "chekc"),
        ("start_run", "target=rm -rf", "unknown"),
        ("read_report", "project=/etc", "project"),
    ],
)
def test_wrong_calls_are_refused(
    tools: Path, tmp_path: Path, tool: str, argument: str, said: str
) -> None:
    """A wrong one exits 5, with the reason."""
    wrong = inspect(
        *(tools, make(tmp_path / "project"), "--method", "tools/call", "--tool-name", tool),
        *("--tool-arg", argument),
    )
    assert wrong.returncode == 5, wrong.stdout + wrong.stderr
    assert said in wrong.stdout + wrong.stderr
