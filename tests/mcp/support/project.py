"""A small project that agents run, and a client of the server in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp import Client
from mcp.types import TextContent

if TYPE_CHECKING:
    from pathlib import Path

SLOW = """import os
import subprocess
import time
from pathlib import Path


def test_wait():
    child = subprocess.Popen(["sleep", "300"])
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(300)
"""


def make(folder: Path, *, slow: bool = False) -> Path:
    """Write a project whose gate 1 passes, and whose gate 4 waits if asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text("[project]\nname = 'sample'\nversion = '1'\n")
    (folder / "src").mkdir()
    (folder / "src" / "sample.py").write_text('"""Sample."""\n')
    if slow:
        (folder / "tests").mkdir()
        (folder / "tests" / "test_wait.py").write_text(SLOW)
    return folder


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and return its structured answer."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert isinstance(answer.structured_content, dict)
    return answer.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must refuse, and return what it says."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer.structured_content
    (text,) = answer.content
    assert isinstance(text, TextContent)
    return text.text


def write_report(project: Path, report: dict[str, Any]) -> None:
    """Put a report where `summary` would."""
    state = project / ".preflight"
    state.mkdir(exist_ok=True)
    (state / "report.json").write_text(json.dumps(report))
