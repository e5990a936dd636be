"""An agent is told what a person at the command line is told, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client
from typer.testing import CliRunner

from mcp_local.mcp_server import create_server
from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import PreflightError
from tests.mcp.support.project import make, refused

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project in which nothing ran."""
    return make(tmp_path / "project")


FIT = ("--budget-gb", "1")


@pytest.mark.parametrize(
    ("typed", "tool", "given"),
    [
        (("check", "GATE99"), "explain_check", {"check": "GATE99"}),
        (("check", "gate1-formt"), "start_run", {"target": "gate1-formt"}),
        (("check", "gate1-formt"), "read_result", {"session": "gate1-formt"}),
        (
            ("check", "GATE1", "--profile", "embeded"),
            "start_run",
            {"target": "GATE1", "profile": "embeded"},
        ),
        (("report",), "read_report", {}),
        (("estimate", "no-such"), "estimate_memory", {"model": "no-such"}),
        (("estimate", "embedded"), "estimate_memory", {"model": "embedded"}),
        (
            ("fit", "embedded", *FIT, "--keep", "nothing"),
            "fit_settings",
            {"model": "embedded", "budget_gb": 1, "keep": "nothing"},
        ),
        (("runs", "search", "--where", "x is y"), "search_runs", {"where": ["x is y"]}),
        (("runs", "note", "r9", "x"), "record_note", {"run_id": "r9", "text": "x"}),
        (("history", "x"), "measurement_history", {"name": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_errors_are_those_of_the_command_line(
    project: Path, typed: tuple[str, ...], tool: str, given: dict[str, Any]
) -> None:
    """Message and hint; the SDK puts the tool's name before them."""
    said = _said(project, typed)
    async with Client(create_server([project])) as client:
        found = await refused(client, tool, **given)
    assert found == f"Error executing tool {tool}: {said}"


@pytest.mark.parametrize("damage", [b"{", b"\xff", b'{"schema": 99}', b"[]", b"[" * 10_000])
async def test_a_damaged_report_is_the_same_error(project: Path, damage: bytes) -> None:
    """And `explain_check` does not hide it."""
    state = project / ".preflight"
    state.mkdir()
    (state / "report.json").write_bytes(damage)
    said = _said(project, ("report",))
    async with Client(create_server([project])) as client:
        assert (await refused(client, "read_report")).endswith(f": {said}")
        told = await client.call_tool("explain_check", {"check": "GATE1"})
        assert told.structured_content is not None
        assert told.structured_content["status"] == "unknown"
        assert told.structured_content["seen"] in said


def _said(project: Path, typed: tuple[str, ...]) -> str:
    """Return what the command line says, hint included."""
    where = () if typed[0] in {"estimate", "fit"} else ("--project", str(project))
    error = CliRunner().invoke(app, [*typed, *where]).exception
    assert isinstance(error, PreflightError)
    return f"{error}; {error.hint}" if error.hint else str(error)
