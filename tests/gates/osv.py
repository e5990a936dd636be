"""An OSV-compatible advisory service on loopback, with switchable faults."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Service(ThreadingHTTPServer):
    """Answer `/v1/query` from a table of name → bad versions.

    Attributes:
        bad: Package name → versions with an advisory.
        mode: `ok`, `500`, `garbage` or `slow`.
    """

    daemon_threads = True

    def __init__(self, bad: dict[str, list[str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bad = bad
        self.mode = "ok"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Return the query address."""
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class Handler(BaseHTTPRequestHandler):
    """Answer one query."""

    server: Service

    def do_POST(self) -> None:
        """Answer the advisories of one package and version."""
        length = int(self.headers.get("Content-Length", "0"))
        query = json.loads(self.rfile.read(length))
        if self.server.mode == "slow":
            time.sleep(30)
        name, version = query["package"]["name"], query["version"]
        answer: dict[str, Any] = {}
        if version in self.server.bad.get(name, []):
            answer["vulns"] = [advisory(name, version)]
        data = b"<html>" if self.server.mode == "garbage" else json.dumps(answer).encode()
        self.send_response(500 if self.server.mode == "500" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def advisory(name: str, version: str) -> dict[str, Any]:
    """Return an OSV document about one version of a package."""
    return {
        "id": f"PYSEC-2019-{len(name)}",
        "summary": "bad",
        "details": "bad",
        "modified": "2024-01-01T00:00:00Z",
        "published": "2024-01-01T00:00:00Z",
        "aliases": ["CVE-2019-10906"],
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI"},
                "versions": [version],
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
            }
        ],
    }
