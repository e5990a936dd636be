"""Server of an advisory database on loopback, with the three calls of osv.dev's API.

`/v1/query` is what pip-audit asks, `/v1/querybatch` what uv asks, `/v1/vulns/ID` both what
uv asks next and where severities are looked up. `/v1/database` is this server's own: it says
how old the answers are, which no other service of the kind does.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from mlx_preflight.core.json_file import parse_json
from mlx_preflight.gates.advisories.database import Database

HOST = "127.0.0.1"

MAX_BODY_BYTES = 2**20
MAX_QUERIES = 1000
"""osv.dev's own limit of one batch."""

_TIMEOUT_S = 30.0
"""A client that sends nothing for so long is dropped."""


class Server(ThreadingHTTPServer):
    """HTTP server of one database; bound to loopback, read-only."""

    daemon_threads = True

    def __init__(self, database: Database, port: int = 0) -> None:
        """Bind, without serving yet.

        Args:
            database: What to answer from.
            port: Port on loopback; 0 takes a free one.

        Raises:
            OSError: The port is taken.
        """
        self.database = database
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Return the address for pip-audit's `--osv-url`."""
        return f"http://{HOST}:{self.server_port}/v1/query"


@contextmanager
def serve_in_thread(database: Database) -> Iterator[str]:
    """Serve a database from a thread on a free port, and give its query address."""
    server = Server(database)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()


class _BadRequestError(Exception):
    """Malformed request."""


class _Handler(BaseHTTPRequestHandler):
    """Handler of one request."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer one record, or what the database is."""
        if self.path == "/v1/database":
            age = self.server.database.age
            self._send(200, {"date": age.date.isoformat(), "count": age.count})
        elif found := re.fullmatch(r"/v1/vulns/([^/?#]{1,200})", self.path):
            record = self.server.database.record(unquote(found[1]))
            if record is None:
                self._send(404, {"code": 5, "message": "Bug not found."})
            else:
                self._send(200, record)
        else:
            self._send(404, {"code": 5, "message": "Not Found"})

    def do_POST(self) -> None:
        """Answer one query, or a batch of them."""
        try:
            asked = self._body()
            if self.path == "/v1/query":
                found = self._matches(asked)
                self._send(200, {"vulns": found} if found else {})
            elif self.path == "/v1/querybatch":
                self._send(200, {"results": self._batch(asked)})
            else:
                self._send(404, {"code": 5, "message": "Not Found"})
        except _BadRequestError as error:
            self.close_connection = True
            self._send(400, {"code": 3, "message": str(error)})

    def log_message(self, *_: object) -> None:
        """Log nothing: requests name a project's packages."""

    def _body(self) -> Any:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _BadRequestError("no Content-Length") from None
        if not 0 <= length <= MAX_BODY_BYTES:
            raise _BadRequestError(f"a body of {length} bytes, at most {MAX_BODY_BYTES}")
        try:
            return parse_json(self.rfile.read(length))
        except ValueError as error:
            raise _BadRequestError(str(error)) from error

    def _batch(self, asked: Any) -> list[dict[str, Any]]:
        queries = asked.get("queries") if isinstance(asked, dict) else None
        if not isinstance(queries, list) or len(queries) > MAX_QUERIES:
            raise _BadRequestError(f"expected a list of at most {MAX_QUERIES} queries")
        return [
            (
                {"vulns": [{"id": item["id"], "modified": item["modified"]} for item in found]}
                if (found := self._matches(query))
                else {}
            )
            for query in queries
        ]

    def _matches(self, query: Any) -> list[Any]:
        try:
            name, version = query["package"]["name"], query["version"]
            ecosystem = query["package"].get("ecosystem", "PyPI")
        except (KeyError, TypeError, AttributeError):
            raise _BadRequestError("expected package.name, package.ecosystem, version") from None
        if not all(isinstance(item, str) for item in (name, version, ecosystem)):
            raise _BadRequestError("expected texts")
        if ecosystem != "PyPI":
            raise _BadRequestError(f"only PyPI is known here, not {ecosystem!r}")
        return list(self.server.database.affecting(name, version))

    def _send(self, code: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
