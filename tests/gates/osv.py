"""An OSV-compatible advisory service on loopback, with switchable faults and a chosen age."""

from __future__ import annotations

import datetime as dt
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

from mlx_preflight.gates.advisories import server
from mlx_preflight.gates.advisories.database import Database

TODAY = dt.datetime.now(dt.UTC)


class Service(ThreadingHTTPServer):
    """Serve as `mlx-preflight advisories serve` does, from a table of name → bad versions.

    Attributes:
        bad: Package name → versions with an advisory.
        extra: Fields that the package's advisory has besides.
        aliases: Records that can only be looked up.
        mode: `ok`, `500`, `garbage`, `slow`, or `dateless`.
        changed: Date of the database.
    """

    daemon_threads = True

    def __init__(self, bad: dict[str, list[str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bad = bad
        self.extra: dict[str, dict[str, Any]] = {}
        self.aliases: list[dict[str, Any]] = []
        self.mode = "ok"
        self.changed = TODAY
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Return the query address."""
        return f"http://127.0.0.1:{self.server_port}/v1/query"

    def record(self, name: str, version: str) -> dict[str, Any]:
        """Return the advisory about a version of a package."""
        dated = advisory(name, version) | {"modified": self.changed.isoformat()}
        return dated | self.extra.get(name, {})

    @property
    def database(self) -> Database:
        """Return what is known now."""
        records = [self.record(name, version) for name in self.bad for version in self.bad[name]]
        return Database([*records, *self.aliases], "tests")


class Handler(server._Handler):
    """Answer as the real one does, unless a fault is switched on."""

    server: Service  # type: ignore[assignment]  # (the base has another server)

    def do_GET(self) -> None:
        """Answer a record, or the age of the database."""
        self.server.asked.append(self.path)
        if self.server.mode == "dateless" and self.path == "/v1/database":
            self._send(404, {})
        else:
            super().do_GET()

    def _matches(self, query: Any) -> list[Any]:
        name, version = query["package"]["name"], query["version"]
        known = version in self.server.bad.get(name, [])
        return [self.server.record(name, version)] if known else []

    def _send(self, code: int, document: object) -> None:
        if self.server.mode == "slow":
            time.sleep(30)
        if self.server.mode == "garbage":
            document = "<html>"
        super()._send(500 if self.server.mode == "500" else code, document)


def advisory(name: str, version: str) -> dict[str, Any]:
    """Return an OSV document about one version of a package."""
    return {
        "id": f"PYSEC-2019-{len(name)}",
        "summary": "bad",
        "details": "bad",
        "modified": "2024-01-01T00:00:00Z",
        "published": "2024-01-01T00:00:00Z",
        "aliases": [f"CVE-2019-{len(name)}"],
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI"},
                "versions": [version],
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
            }
        ],
    }


def rated(name: str, vector: str) -> dict[str, Any]:
    """Return a record that can be looked up and holds a CVSS vector."""
    kind = "CVSS_V4" if vector.startswith("CVSS:4") else "CVSS_V3"
    score = [{"type": kind, "score": vector}]
    return {"id": name, "modified": "2024-01-01T00:00:00Z", "aliases": [], "severity": score}
