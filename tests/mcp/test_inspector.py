"""An independent client, the MCP Inspector's command line, understands the server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_local.http_server import AUTH_VARIABLE
from mcp_local.jobs import Jobs
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.models.catalog import EMBEDDED_ROWS
from tests.mcp.support import runs
from tests.mcp.support.processes import until
from tests.mcp.support.project import make

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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with everything that can be read: runs, a report, results, configs."""
    folder = make(tmp_path_factory.mktemp("inspected") / "project")
    shutil.copytree(EMBEDDED_ROWS, folder / "rows")
    (folder / "run.yaml").write_text("model: embedded\ndata: rows\ntrain: true\n")
    job = Jobs((folder,)).start(folder, "gate1-format")
    until(lambda: not job.running(), 60, "the run did not end")
    memory = MemoryManager.of_project(folder)
    memory.record(runs.report(1, failed={"AC6.2": "out of memory"}))
    memory.record(runs.report(2, measured={"AC6.2/peak_bytes": 13e9}))
    command = [sys.executable, "-m", "mlx_preflight"]
    configs = str(folder / ".preflight" / "configs")
    fit = ["fit", "embedded", "--budget-gb", "1", *("--max-seq-length", "64", "--num-layers", "4")]
    fit += ["--write", configs]
    for arguments in (["summary", "--project", str(folder)], fit):
        done = subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode in (0, 1, 3), done.stderr
    return folder


def inspector(tools: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Inspector."""
    home = tools / "home"
    home.mkdir(exist_ok=True)
    node = tools / "node_modules" / "node" / "bin" / "node"
    client = [str(node), str(tools / "node_modules" / ".bin" / "mcp-inspector"), "--cli", "-q"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        [*client, "--format", "json", *arguments],
        env={**os.environ, "HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def inspect(tools: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Inspector against a server of the project."""
    server = [sys.executable, "-m", "mlx_preflight", "mcp", "--project", str(project)]
    return inspector(tools, *arguments, "--", *server)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what was answered."""
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["result"]
    return found


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_tools_are_listed_without_a_fault(tools: Path, project: Path, era: str) -> None:
    """`--strict` finds nothing wrong with any schema, in both eras of the protocol."""
    done = inspect(tools, project, "--method", "tools/list", "--strict", "--protocol-era", era)
    names = {tool["name"] for tool in answer(done)["tools"]}
    assert names == {tool for tool, _, _ in CALLS}
    assert "Warning" not in done.stderr


SMALL = ("max_seq_length=64", "num_layers=4")

CALLS: list[tuple[str, tuple[str, ...], str]] = [
    ("list_plan", (), "sessions"),
    ("explain_check", ("check=GATE1",), "proves"),
    ("index_status", (), "records"),
    ("search_runs", ("limit=5", 'where=["peak_bytes < 16e9"]'), "hits"),
    ("estimate_memory", ("model=embedded", *SMALL), "document"),
    ("read_report", ("only=all", "limit=3"), "rows"),
    ("read_result", ("session=gate1-format",), "document"),
    ("compare_runs", ("first=run-00001", "second=run-00002"), "measurements"),
    ("measurement_history", ("name=peak_bytes",), "points"),
    ("record_note", ("run_id=run-00001", "text=shorter rows helped"), "when"),
    ("fit_settings", ("model=embedded", "budget_gb=1", *SMALL), "document"),
    ("start_run", ("target=gate1-format",), "planned"),
    ("poll_run", ("run_id=RUN", "wait_s=1"), "done"),
    ("cancel_run", ("run_id=RUN",), "state"),
    ("check_data", ("config=run.yaml",), "planned"),
    ("qualify_run", ("config=run.yaml",), "planned"),
]
"""Every tool; RUN stands for a run that an earlier server started."""

BOTH = ("list_plan", "explain_check", "index_status", "search_runs", "estimate_memory")


@pytest.mark.parametrize(
    ("tool", "arguments", "key", "era"),
    [
        pytest.param(*item, era, id=f"{item[0]}-{era}")
        for era in ("legacy", "modern")
        for item in CALLS
        if era == "legacy" or item[0] in BOTH
    ],
)
def test_tools_are_called(
    tools: Path, project: Path, tool: str, arguments: tuple[str, ...], key: str, era: str
) -> None:
    """Each answers structured data; some are tried in both eras of the protocol."""
    kept = sorted(path.stem for path in (project / ".preflight" / "agent-runs").glob("*.json"))
    given = [part.replace("RUN", kept[0]) for item in arguments for part in ("--tool-arg", item)]
    done = inspect(
        *(tools, project, "--method", "tools/call", "--tool-name", tool),
        *(*given, "--protocol-era", era),
    )
    assert key in answer(done)["structuredContent"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("preflight://register", "gate1-format"),
        ("preflight://report", "verdict"),
        ("preflight://report.md", "# Preflight"),
        ("run://run-00001", "out of memory"),
        ("result://gate1-format", "duration_s"),
        ("config://lora_config.yaml", "max_seq_length"),
    ],
)
def test_resources_are_read(tools: Path, project: Path, uri: str, said: str) -> None:
    """One of every kind."""
    done = inspect(tools, project, "--method", "resources/read", "--uri", uri)
    (found,) = answer(done)["contents"]
    assert said in found["text"]
    assert found["mimeType"] in {"application/json", "text/markdown", "application/yaml"}


def test_resources_are_listed(tools: Path, project: Path) -> None:
    """Fixed ones by address, the others by template; what is not there is an error."""
    fixed = answer(inspect(tools, project, "--method", "resources/list"))["resources"]
    assert len(fixed) == 3
    found = answer(inspect(tools, project, "--method", "resources/templates/list"))
    templates = {item["uriTemplate"] for item in found["resourceTemplates"]}
    assert templates == {"run://{run_id}", "result://{session}", "config://{name}"}
    missing = inspect(tools, project, "--method", "resources/read", "--uri", "run://r9")
    assert missing.returncode != 0
    assert "r9" in missing.stderr


PROMPTS = {
    "qualify_model": "model=org/name",
    "diagnose_failure": "check=AC6.2",
    "hand_over": "run_id=run-00001",
}


def test_prompts_are_read(tools: Path, project: Path) -> None:
    """All that are listed, with the argument in the text."""
    listed = answer(inspect(tools, project, "--method", "prompts/list"))["prompts"]
    assert {item["name"] for item in listed} == set(PROMPTS)
    for name, argument in PROMPTS.items():
        done = inspect(
            *(tools, project, "--method", "prompts/get", "--prompt-name", name),
            *("--prompt-args", argument),
        )
        (message,) = answer(done)["messages"]
        assert argument.partition("=")[2] in message["content"]["text"]


DOCS = Path(__file__).parents[2] / "docs" / "mcp.md"


def test_the_configuration_of_the_docs_starts_a_server(
    tools: Path, project: Path, tmp_path: Path
) -> None:
    """The JSON of docs/mcp.md as it stands there, but for the path of the project."""
    (snippet,) = re.findall(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    config = tmp_path / "mcp.json"
    config.write_text(snippet.replace("/path/to/project", str(project)))
    call = ("--method", "tools/call", "--tool-name", "list_plan")
    done = inspector(tools, "--config", str(config), "--server", "preflight", *call)
    assert answer(done)["structuredContent"]["projects"] == [str(project)]


def test_the_docs_way_over_http_is_answered(tools: Path, project: Path) -> None:
    """The server makes a token; with it the Inspector is answered, without it refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = [sys.executable, "-m", "mlx_preflight", "mcp", "--http", "--port", str(port)]
    url = ("--transport", "http", "--server-url", f"http://127.0.0.1:{port}/mcp")
    env = {key: value for key, value in os.environ.items() if key != AUTH_VARIABLE}
    with subprocess.Popen([*server, "--project", str(project)], env=env) as child:
        try:
            until(lambda: _listens(port), 30, "no server")
            token = (project / ".preflight" / "mcp-token").read_text()
            ask = (*url, "--stored-auth-only", "--method", "tools/call", "--tool-name", "list_plan")
            done = inspector(tools, *ask, "--header", f"Authorization: Bearer {token}")
            assert answer(done)["structuredContent"]["projects"] == [str(project)]
            assert inspector(tools, *ask).returncode == 3
        finally:
            child.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
    tools: Path, project: Path, tool: str, argument: str, said: str
) -> None:
    """A wrong one exits 5, with the reason."""
    wrong = inspect(
        *(tools, project, "--method", "tools/call", "--tool-name", tool),
        *("--tool-arg", argument),
    )
    assert wrong.returncode == 5, wrong.stdout + wrong.stderr
    assert said in wrong.stdout + wrong.stderr
