"""Agents judge a training run in a served folder, and see nothing of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from mcp_local.mcp_server import create_server
from mcp_local.projects import Projects
from mlx_preflight.core.errors import UsageError
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from tests.mcp.support.project import call, refused

pytestmark = pytest.mark.anyio

ANSWER = "the safe opens with 4711"


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a config and rows, and nothing that makes it a project."""
    root = tmp_path / "run"
    (root / "rows").mkdir(parents=True)
    for name in ("train", "valid"):
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"{name} {number}: where is the key?"},
                    {"role": "assistant", "content": f"{ANSWER}, {number}"},
                ]
            }
            for number in range(6)
        ]
        (root / "rows" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    settings = {"model": str(EMBEDDED_FOLDER), "data": "rows", "train": True, "iters": 4}
    settings |= {"batch_size": 2, "num_layers": 2, "max_seq_length": 128, "val_batches": 1}
    (root / "run.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in settings.items()))
    return root


async def wait(client: Client, state: dict[str, Any]) -> dict[str, Any]:
    """Poll a run to its end."""
    for _ in range(8):
        if state["state"] != "running":
            return state
        state = await call(client, "poll_run", run_id=state["run_id"], wait_s=50)
    raise TimeoutError(state)


@pytest.mark.slow
async def test_a_run_is_qualified_in_a_folder_without_a_project(folder: Path) -> None:
    """All sessions are of this run, the report follows, and no row is in any answer."""
    async with Client(create_server([folder])) as client:
        began = await call(client, "qualify_run", config="run.yaml", budget_gb=4)
        assert began["planned"] == [item.id for item in register.sessions("qualify")]
        state = await wait(client, began)
        assert set(state["done"]) == set(state["planned"])
        report = await call(client, "read_report", only="all")
        assert report["run_id"] == began["run_id"]
        memory = await call(client, "read_result", session="run5-memory")
        data = await call(client, "read_result", session="run4-data")
        seen = json.dumps([state, report, memory, data])
        assert ANSWER not in seen
        assert "4 GB" in json.dumps(await call(client, "read_result", session="run2-machine"))


@pytest.mark.slow
async def test_data_is_checked_with_file_and_line(folder: Path) -> None:
    """A broken row is named by its place; its text stays where it is."""
    rows = folder / "rows" / "train.jsonl"
    rows.write_text(rows.read_text() + '{"messages": "' + ANSWER + "\n")
    async with Client(create_server([folder])) as client:
        state = await wait(client, await call(client, "check_data", config="run.yaml"))
        assert state["planned"] == ["run4-data"]
        assert state["done"] == {"run4-data": "FAIL"}
        found = json.dumps(await call(client, "read_result", session="run4-data"))
        assert "train.jsonl:7" in found
        assert ANSWER not in found + json.dumps(state)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("qualify_run", {}, "either config, or model and data"),
        ("qualify_run", {"model": "embedded"}, "either config, or model and data"),
        ("qualify_run", {"config": "run.yaml", "data": "rows"}, "either config"),
        ("qualify_run", {"config": "../run.yaml"}, "leads out of"),
        ("qualify_run", {"config": "/etc/passwd"}, "leads out of"),
        ("qualify_run", {"config": "nowhere.yaml"}, "no file in"),
        ("qualify_run", {"config": "rows"}, "no file in"),
        ("qualify_run", {"config": "a\0b"}, "NUL"),
        ("qualify_run", {"config": "run.yaml", "project": "/etc"}, "not served here"),
        ("qualify_run", {"config": "run.yaml", "budget_gb": -1}, "greater than 0"),
        ("qualify_run", {"model": "embedded", "data": "/etc"}, "leads out of"),
        ("qualify_run", {"model": "embedded", "data": "run.yaml"}, "nor a folder in"),
        ("qualify_run", {"model": "/etc", "data": "rows"}, "leads out of"),
        ("check_data", {"config": "../../etc/passwd"}, "leads out of"),
        ("check_data", {"config": ""}, "at least 1"),
        ("check_data", {"conifg": "run.yaml"}, "conifg"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_input_starts_nothing(
    folder: Path, tool: str, arguments: dict[str, Any], words: str
) -> None:
    """The agent learns what is right; no run is started and no path outside is read."""
    async with Client(create_server([folder])) as client:
        assert words in await refused(client, tool, **arguments)
    assert not list(folder.rglob("*.log"))


async def test_a_link_out_of_the_project_is_refused(folder: Path) -> None:
    """For a config and for a data folder alike."""
    (folder / "passwd.yaml").symlink_to("/etc/passwd")
    (folder / "etc").symlink_to("/etc")
    served = Projects((folder,))
    for look, name in ((served.file, "passwd.yaml"), (served.data, "etc")):
        with pytest.raises(UsageError, match="leads out of"):
            look(name, folder)
    assert served.data("mlx-community/WikiSQL", folder) == "mlx-community/WikiSQL"
