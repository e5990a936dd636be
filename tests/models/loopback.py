"""A hub on loopback that speaks enough of the protocol for the real client.

Model info, recursive tree, and `resolve` with ETag, commit header and range requests.
Faults are switched on by attributes of the server.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

REPO = "someone/tiny-model"
COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Serve the files of one folder as the repository `REPO`.

    Attributes:
        status: Answer every API request with this code instead.
        busy: Answer so many file requests with 429 first.
        cut: Close the connection after so many bytes of a weights file, once.
        stall: Seconds to wait in the middle of a weights file, once.
        lie: Name a wrong digest for weights.
        listed_only: Name of a file that the tree lists and nothing serves.
        ranges: Range headers seen.
        requests: Paths seen.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}
        self.commit = COMMIT
        self.status: int | None = None
        self.busy = 0
        self.cut: int | None = None
        self.stall = 0.0
        self.lie = False
        self.listed_only = ""
        self.ranges: list[str] = []
        self.requests: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Return the endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    def entry(self, name: str) -> dict[str, Any]:
        """Return the tree's entry of a file, large files with an LFS digest."""
        data = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        row: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": blob}
        if name.endswith(".safetensors"):
            row["lfs"] = {"oid": self.digest(name), "size": len(data), "pointerSize": 134}
        return row

    def digest(self, name: str) -> str:
        """Return the digest that the hub names for a large file."""
        true = hashlib.sha256(self.files[name]).hexdigest()
        return "0" * 64 if self.lie else true


class Handler(BaseHTTPRequestHandler):
    """Answer the client."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Answer metadata."""
        self.answer(body=False)

    def do_GET(self) -> None:
        """Answer API and files."""
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        """Dispatch on the path."""
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        if path.startswith("/api/"):
            self.api(path)
        else:
            self.file(path.rpartition("/")[2], body=body)

    def api(self, path: str) -> None:
        """Answer model info or the tree."""
        if self.server.status is not None:
            code = self.server.status
            headers = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}
            extra = {"X-Error-Code": headers[code]} if code in headers else {}
            self.send_json(code, {"error": "refused"}, extra)
        elif "/tree/" in path:
            rows = [self.server.entry(name) for name in sorted(self.server.files)]
            absent = [{**rows[0], "path": self.server.listed_only}]
            self.send_json(200, rows + absent * bool(self.server.listed_only))
        else:
            siblings = [{"rfilename": name} for name in sorted(self.server.files)]
            info = {"id": REPO, "modelId": REPO, "sha": self.server.commit, "siblings": siblings}
            self.send_json(200, info)

    def file(self, name: str, *, body: bool) -> None:
        """Answer a file, or its metadata, with the faults that are switched on."""
        if self.server.busy > 0 and body:
            self.server.busy -= 1
            self.send_json(429, {"error": "slow down"}, {"Retry-After": "0"})
            return
        if name not in self.server.files:
            self.send_json(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
            return
        data, first = self.server.files[name], 0
        wanted = self.headers.get("Range")
        if wanted and body:
            self.server.ranges.append(wanted)
            first = int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        large = name.endswith(".safetensors")
        etag = self.server.digest(name) if large else self.server.entry(name)["oid"]
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            self.send_body(data[first:], large=large)

    def send_body(self, data: bytes, *, large: bool) -> None:
        """Send content, cut or stalled when asked."""
        if large and self.server.cut is not None:
            self.wfile.write(data[: self.server.cut])
            self.server.cut = None
            self.close_connection = True
            return
        if large and self.server.stall:
            self.wfile.write(data[:1000])
            self.wfile.flush()
            wait, self.server.stall = self.server.stall, 0.0
            time.sleep(wait)
            self.close_connection = True
            return
        self.wfile.write(data)

    def send_json(self, code: int, value: object, extra: dict[str, str] | None = None) -> None:
        """Send a JSON answer."""
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, text in (extra or {}).items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""
