"""Over stdio and HTTP: pure protocol on stdout, no orphans, and nothing without the token."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from mcp import Client, StdioServerParameters

from mcp_local import http_server
from mlx_preflight.core.errors import ResultError, UsageError
from tests.mcp.support.processes import alive, started, until
from tests.mcp.support.project import call, make
from tests.mcp.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEARER = "a-token-of-the-tests-only"

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


def command(project: Path, *more: str) -> list[str]:
    """Return the command line of a server."""
    return [sys.executable, "-m", "mlx_preflight", "mcp", "--project", str(project), *more]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_stdio_serves_both_eras(tmp_path: Path, era: Any) -> None:
    """A real process, a real pipe: list, run a gate that prints, read its result."""
    project = make(tmp_path / "project")
    first, *rest = command(project)
    parameters = StdioServerParameters(command=first, args=rest, env=dict(os.environ))
    async with Client(parameters, mode=era) as client:
        started = await call(client, "start_run", target="gate1-format")
        ended = await call(client, "poll_run", run_id=started["run_id"], wait_s=30)
        assert ended["state"] == "finished"
        assert ended["done"] == {"gate1-format": "PASS"}


@pytest.mark.slow
def test_stdout_is_nothing_but_the_protocol(tmp_path: Path) -> None:
    """Every line is JSON-RPC; words go to stderr, and the end of the pipe ends the server."""
    project = make(tmp_path / "project")
    start = {"name": "start_run", "arguments": {"target": "gate1-format"}}
    asked = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": start},
    ]
    with subprocess.Popen(
        command(project), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for message in asked:
            child.stdin.write(json.dumps(message).encode() + b"\n")
            child.stdin.flush()
        lines = [child.stdout.readline(), child.stdout.readline()]
        child.stdin.write(b"\xff\xfe not json\n")
        child.stdin.close()
        lines += child.stdout.readlines()
        assert child.wait(30) == 0
    answers = [json.loads(line) for line in lines]
    assert all(item["jsonrpc"] == "2.0" for item in answers)
    assert answers[1]["result"]["structuredContent"]["state"] in {"running", "finished"}


HOST = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in sys.argv[2].splitlines():
    child.stdin.write(line.encode() + b"\\n")
    child.stdin.flush()
child.stdout.readline()
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(300)
"""


@pytest.mark.slow
def test_a_server_whose_host_was_killed_goes_away(tmp_path: Path) -> None:
    """SIGKILL of the host closes nothing, and still the server ends, and the run with it."""
    project = make(tmp_path / "project", slow=True)
    pid = tmp_path / "pid"
    start = {"name": "start_run", "arguments": {"target": "gate4-unit"}}
    asked = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": start},
    ]
    said = "\n".join(json.dumps(message) for message in asked)
    parent = subprocess.Popen([sys.executable, "-c", HOST, str(pid), said, *command(project)])
    pids = started(project)
    until(lambda: pid.exists() and bool(pid.read_text()), 20, "no server started")
    server = int(pid.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: not alive(server), 20, "the server outlived its host")
    until(lambda: not any(alive(item) for item in pids), 10, "the run outlived its host")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_whose_pipe_stays_open(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Its run is stopped first; the next server still knows how that run ended."""
    project = make(tmp_path / "project", slow=True)
    with Wire(project) as wire:
        start = {"name": "start_run", "arguments": {"target": "gate4-unit"}}
        run_id = wire.ask("tools/call", start)["result"]["structuredContent"]["run_id"]
        pids = started(project)
        wire.process.send_signal(number)
        assert wire.process.wait(20) == 0
        until(lambda: not any(alive(item) for item in pids), 10, "the run outlived its server")
    with Wire(project) as wire:
        poll = {"name": "poll_run", "arguments": {"run_id": run_id}}
        found = wire.ask("tools/call", poll)["result"]["structuredContent"]
        assert found["state"] == "cancelled"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a project over HTTP with a known token."""
    project = make(tmp_path_factory.mktemp("http") / "project")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, http_server.AUTH_VARIABLE: BEARER}
    arguments = command(project, "--http", "--port", str(port))
    with subprocess.Popen(arguments, env=env, stderr=subprocess.PIPE) as child:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
        child.terminate()
        child.wait(30)
        assert child.stderr is not None
        assert BEARER not in child.stderr.read().decode()


def post(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    """Send one request and return its status; a header of `-` is left out."""
    given = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {BEARER}",
        **(headers or {}),
    }
    data = json.dumps(HELLO).encode() if body is None else body
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    try:
        connection.putrequest("POST", "/mcp", skip_host="Host" in given)
        for name, value in given.items():
            if value != "-":
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders()
        # A server that refuses the length does not wait for the body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(data)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, {200}),
        ({"Authorization": "-"}, {401}),
        ({"Authorization": "Bearer wrong-token-wrong-token"}, {401}),
        ({"Authorization": f"Basic {BEARER}"}, {401}),
        ({"Host": "evil.example"}, {421}),
        ({"Host": "127.0.0.1.evil.example:80"}, {421}),
        ({"Origin": "http://evil.example"}, {403}),
        ({"Origin": "null"}, {403}),
        ({"Content-Type": "text/plain"}, {400, 415}),
    ],
    ids=str,
)
def test_only_a_client_with_the_token_is_answered(
    served: str, headers: dict[str, str], status: set[int]
) -> None:
    """Token, Host, Origin and type are all checked."""
    assert post(served, headers=headers) in status


@pytest.mark.slow
def test_large_and_broken_bodies_are_refused(served: str) -> None:
    """A body over the limit is 413; bytes that are no JSON are an error of the request."""
    assert post(served, b" " * (http_server.MAX_BODY_BYTES + 1)) == 413
    assert post(served, b"\xff\xfe{") == 400
    assert post(served) == 200


FEW = """
import sys
from pathlib import Path
from mcp_local import http_server
http_server.MAX_SESSIONS = 3
http_server.serve([Path(sys.argv[1])], "127.0.0.1", int(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.slow
def test_more_sessions_than_the_limit_are_refused(tmp_path: Path) -> None:
    """With 503, and the server lives on."""
    project = make(tmp_path / "project")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    few = [sys.executable, "-c", FEW, str(project), str(port), BEARER]
    with subprocess.Popen(few, stderr=subprocess.DEVNULL) as child:
        until(lambda: _listens(port), 30, "no server")
        url = f"http://127.0.0.1:{port}/mcp"
        assert [post(url) for _ in range(5)] == [200, 200, 200, 503, 503]
        assert post(url, headers={"Authorization": "-"}) == 401
        child.terminate()


@pytest.mark.slow
def test_beyond_loopback_only_the_listed_host_with_the_token_is_answered(tmp_path: Path) -> None:
    """Loopback names are not on the list then, and no error shows the token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listed = f"build.example:{port}"
    more = ("--http", "--host", "0.0.0.0", "--port", str(port), "--allow-host", listed)
    env = {**os.environ, http_server.AUTH_VARIABLE: BEARER}
    server = command(make(tmp_path / "project"), *more)
    with subprocess.Popen(server, env=env, stderr=subprocess.PIPE) as child:
        until(lambda: _listens(port), 30, "no server")
        url = f"http://127.0.0.1:{port}/mcp"
        assert post(url, headers={"Host": listed}) == 200
        assert post(url, headers={"Host": listed, "Authorization": "-"}) == 401
        assert post(url, headers={"Host": listed, "Origin": "http://evil.example"}) == 403
        assert post(url) == 421
        assert BEARER not in " ".join(psutil.Process(child.pid).cmdline())
        child.terminate()
        assert child.stderr is not None
        assert BEARER not in child.stderr.read().decode()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_another_address_than_loopback_wants_a_list() -> None:
    """0.0.0.0 is refused, and with a list only its hosts are accepted."""
    for host in ("0.0.0.0", "::", "192.168.1.5", "build.example"):
        with pytest.raises(UsageError, match="not loopback"):
            http_server.security(host, 8765, [])
    found = http_server.security("0.0.0.0", 8765, ["build.example:8765"])
    assert found.allowed_hosts == ["build.example:8765"]
    assert "127.0.0.1:8765" in http_server.security("127.0.0.1", 8765, []).allowed_hosts


def test_a_token_is_made_once_for_the_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept, long, and readable by nobody else; a short one is refused."""
    monkeypatch.delenv(http_server.AUTH_VARIABLE, raising=False)
    first, where = http_server.token(tmp_path / "state")
    assert http_server.token(tmp_path / "state") == (first, where)
    assert len(first) > 30
    assert (tmp_path / "state" / "mcp-token").stat().st_mode & 0o077 == 0
    for wrong, said in (("short", "under 16"), ("é" * 20, "no header"), ("a b" * 9, "no header")):
        monkeypatch.setenv(http_server.AUTH_VARIABLE, wrong)
        with pytest.raises(UsageError, match=said):
            http_server.token(tmp_path / "state")


def test_a_token_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As are an empty one, and one that is no text; each with what to do."""
    monkeypatch.delenv(http_server.AUTH_VARIABLE, raising=False)
    path = tmp_path / "mcp-token"
    path.write_text("a-token-that-all-can-read")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others can read") as refused:
        http_server.token(tmp_path)
    assert refused.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert http_server.token(tmp_path)[0] == "a-token-that-all-can-read"
    path.write_text("")
    with pytest.raises(UsageError, match="under 16") as short:
        http_server.token(tmp_path)
    assert "delete" in short.value.hint
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(ResultError, match="mcp-token"):
        http_server.token(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match="mcp-token"):
        http_server.token(tmp_path / "file")


@pytest.mark.slow
def test_what_is_open_without_a_token_tells_nothing(served: str) -> None:
    """Where to get a token stands open, as the protocol wants it; all else is refused."""
    connection = http.client.HTTPConnection(served.split("/")[2], timeout=20)
    for method, path, status in (
        ("GET", "/mcp", 401),
        ("DELETE", "/mcp", 401),
        ("POST", f"/mcp?access_token={BEARER}", 401),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
    ):
        connection.request(method, path, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == status, path
        assert BEARER not in answer.read().decode()
    connection.close()


@pytest.mark.slow
def test_odd_values_in_a_body_are_refused(served: str) -> None:
    """What is no message is 400, and the next request is answered."""
    ask = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":%s}}'
    for odd in ('{"text":"\\ud800"}', "[" * 5000 + "]" * 5000, '{"n":' + "9" * 10_000 + "}"):
        assert post(served, (ask % odd).encode()) == 400
    assert post(served) == 200
