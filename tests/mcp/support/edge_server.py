"""Qdrant's REST interface, as far as the index uses it, over Qdrant's own core in process.

No Qdrant server comes from a package registry. This one speaks HTTP on loopback, reads bodies
by the official client's models, wants the API key, and answers from `qdrant-edge-py`: the
client's whole way to a server is used, and the core that ranks is the server's. The service
container of the workflow is still the proof for the server itself.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

KEY = "a-key-for-tests"


def vectors(point: models.PointStruct) -> dict[str, Any]:
    """Return the named vectors of a point."""
    assert isinstance(point.vector, dict)
    return point.vector


@dataclass
class Collection:
    """Hold one shard and how it was made."""

    shard: edge.EdgeShard
    made: models.CreateCollection


@dataclass
class Store:
    """Hold every collection of a server."""

    folder: Path
    found: dict[str, Collection] = field(default_factory=dict)

    def create(self, name: str, body: Any) -> bool:
        """Make a collection."""
        made = models.CreateCollection.model_validate(body)
        modifiers = {models.Modifier.IDF: edge.Modifier.Idf}
        sparse = {
            key: edge.EdgeSparseVectorParams(
                modifier=modifiers[item.modifier] if item.modifier else None
            )
            for key, item in (made.sparse_vectors or {}).items()
        }
        path = self.folder / name
        shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(sparse_vectors=sparse))
        self.found[name] = Collection(shard, made)
        return True

    def delete(self, name: str) -> bool:
        """Throw a collection away."""
        if gone := self.found.pop(name, None):
            gone.shard.close()
            shutil.rmtree(self.folder / name)
        return gone is not None

    def describe(self, name: str) -> dict[str, Any]:
        """Return a collection's configuration, with what a server fills in."""
        params = {"sparse_vectors": self.found[name].made.model_dump()["sparse_vectors"]}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "payload_schema": {},
            "config": {
                "params": {**params, "vectors": {}},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
        }

    def upsert(self, name: str, body: Any) -> dict[str, Any]:
        """Write points."""
        points = [
            edge.Point(
                str(point.id),
                {
                    key: edge.SparseVector(value.indices, value.values)
                    for key, value in vectors(point).items()
                    if isinstance(value, models.SparseVector)
                },
                point.payload,
            )
            for point in models.PointsList.model_validate(body).points
        ]
        self.found[name].shard.update(edge.UpdateOperation.upsert_points(points))
        return {"operation_id": 1, "status": "completed"}

    def remove(self, name: str, body: Any) -> dict[str, Any]:
        """Delete points."""
        wanted = models.PointIdsList.model_validate(body).points
        ids: list[Any] = [str(item) for item in wanted]
        self.found[name].shard.update(edge.UpdateOperation.delete_points(ids))
        return {"operation_id": 2, "status": "completed"}

    def query(self, name: str, body: Any) -> dict[str, Any]:
        """Rank points by a sparse vector."""
        asked = models.QueryRequest.model_validate(body)
        query: Any = asked.query
        vector = query.nearest
        nearest = edge.Query.Nearest(
            edge.SparseVector(vector.indices, vector.values), using=asked.using
        )
        request = edge.QueryRequest(limit=asked.limit or 10, query=nearest, with_payload=True)
        return {
            "points": [
                {"id": str(item.id), "version": 0, "score": item.score, "payload": item.payload}
                for item in self.found[name].shard.query(request)
            ]
        }

    def scroll(self, name: str, body: Any) -> dict[str, Any]:
        """List points in pages."""
        asked = models.ScrollRequest.model_validate(body)
        offset: Any = None if asked.offset is None else str(asked.offset)
        request = edge.ScrollRequest(offset=offset, limit=asked.limit, with_payload=True)
        points, following = self.found[name].shard.scroll(request)
        return {
            "points": [{"id": str(item.id), "payload": item.payload} for item in points],
            "next_page_offset": None if following is None else str(following),
        }

    def count(self, name: str, body: Any) -> dict[str, Any]:
        """Count points, all or those that a payload field tells apart."""
        asked = models.CountRequest.model_validate(body)
        conditions: list[Any] = [
            edge.FieldCondition(item.key, match=edge.MatchValue(item.match.value))
            for item in (asked.filter.must_not or [] if asked.filter else [])
            if isinstance(item, models.FieldCondition) and isinstance(item.match, models.MatchValue)
        ]
        chosen = edge.Filter(must_not=conditions) if conditions else None
        counted = self.found[name].shard.count(edge.CountRequest(exact=True, filter=chosen))
        return {"count": counted}


def _route(store: Store, method: str, parts: list[str]) -> Callable[[Any], Any] | None:
    """Return what answers a request; None where a server knows no such thing."""
    name = parts[1] if len(parts) > 1 and parts[0] == "collections" else ""
    rest = (method, *parts[2:])
    if rest == ("GET", "exists"):
        return lambda _: {"exists": name in store.found}
    if rest == ("PUT",):
        return lambda body: store.create(name, body)
    if rest == ("DELETE",):
        return lambda _: store.delete(name)
    if name not in store.found:
        return None
    known: dict[tuple[str, ...], Callable[[Any], Any]] = {
        ("GET",): lambda _: store.describe(name),
        ("PUT", "points"): lambda body: store.upsert(name, body),
        ("POST", "points", "delete"): lambda body: store.remove(name, body),
        ("POST", "points", "query"): lambda body: store.query(name, body),
        ("POST", "points", "scroll"): lambda body: store.scroll(name, body),
        ("POST", "points", "count"): lambda body: store.count(name, body),
    }
    return known.get(rest)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve collections that lie in a folder; yield the address."""
    store = Store(folder)
    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("api-key") != KEY:
                self._send(HTTPStatus.UNAUTHORIZED, {"status": {"error": "Must provide a key"}})
                return
            parts = self.path.partition("?")[0].strip("/").split("/")
            with guard:
                found = _route(store, self.command, parts)
                if found is None:
                    error = f"Not found: {self.path} does not exist"
                    self._send(HTTPStatus.NOT_FOUND, {"status": {"error": error}})
                    return
                result = found(json.loads(data) if data else None)
            self._send(HTTPStatus.OK, {"time": 0.0, "status": "ok", "result": result})

        def _send(self, code: HTTPStatus, document: dict[str, Any]) -> None:
            text = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  (the names of the base class)

        def log_message(self, *_: Any) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for name in list(store.found):
            store.delete(name)
