"""A server over a real pipe, and a client that may send it anything at all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "0"},
}


class Wire:
    """Start a server, and write lines to it that no client library would."""

    def __init__(self, project: Path) -> None:
        """Start and greet it."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlx_preflight", "mcp", "--project", str(project)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.number = 0
        self.ask("initialize", HELLO)
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def __enter__(self) -> Self:
        """Return the wire."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, however it stands."""
        self.process.kill()
        self.process.communicate()

    def send(self, line: bytes) -> None:
        """Write one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer."""
        return self.ask_raw(method, json.dumps(params).encode())

    def ask_raw(self, method: str, params: bytes) -> dict[str, Any]:
        """Send a request whose parameters are these very bytes, and return its answer."""
        self.number += 1
        head = b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":' % (self.number, method.encode())
        self.send(head + params + b"}")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return the next answer; a server that takes a minute is killed."""
        assert self.process.stdout is not None
        patience = threading.Timer(60, self.process.kill)
        patience.start()
        try:
            line = self.process.stdout.readline()
        finally:
            patience.cancel()
        assert line, "the server did not answer"
        found: dict[str, Any] = json.loads(line)
        assert found.get("id") == self.number, found
        return found

    def end(self) -> tuple[int, str]:
        """Close the pipe; return the exit code and what was said on stderr."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said.decode()
