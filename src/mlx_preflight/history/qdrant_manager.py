"""Search index in Qdrant: embedded on disk, in memory, or on a server; always rebuildable.

Embedded Qdrant is neither thread- nor process-safe (qdrant-client 1.20), so one thread lock
and one file lock surround it. The folder is opened for an operation and closed after a short
idle time, so that several servers can share it.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import QdrantClient, models

from mlx_preflight.core.errors import PreflightError, ResultError, UsageError
from mlx_preflight.history import collection, encoder
from mlx_preflight.history.embedded_folder import EmbeddedFolder

COLLECTION = "preflight_runs"

WARN_POINTS, MAX_POINTS = 10_000, 20_000
"""Embedded Qdrant searches by brute force: slow from the first on, too slow from the second."""

LEASE_S = 0.5
"""How long an embedded index stays open for the next operation of this process."""

HOLD_S = 10.0
"""How long it stays open at most while operations follow each other, for others' sake."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PAUSE_S = 0.1
_TIMEOUT_S = 10
_BATCH = 256
_FIRST = 400
"""Points that a search asks for beyond its limit before it asks for more."""


class QdrantManager:
    """One collection of sparse vectors; safe for threads and, on disk, for processes."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        name: str = COLLECTION,
    ) -> None:
        """Name the place; nothing is opened yet.

        Args:
            path: Folder of the embedded index; None with no url keeps it in memory.
            url: Address of a Qdrant server.
            api_key: Its key; never shown or logged.
            name: Of the collection; histories that share a server need one each.
        """
        self._collection = name
        self._url, self._key = url, api_key
        self._guard = threading.RLock()
        self._client: QdrantClient | None = None
        self._opened = 0.0
        self._timer: threading.Timer | None = None
        self._folder = EmbeddedFolder(path) if path else None
        self._said: list[str] = []

    @property
    def engine(self) -> str:
        """Return where the index lives: `memory`, `path` or `url`."""
        return "url" if self._url else "path" if self._folder else "memory"

    def sync(self, wanted: Mapping[str, str], document: Callable[[str], str]) -> str:
        """Make the index hold exactly the given runs.

        Args:
            wanted: Run id → revision; a point of another revision is written again.
            document: Run id → text.

        Returns:
            What had to be rebuilt first, or an empty text.

        Raises:
            ResultError: The index cannot be used.
        """
        with self._open() as client:
            held = self._held(client)
            stale = [name for name in held if name not in wanted]
            new = [name for name, revision in wanted.items() if held.get(name) != revision]
            if stale:
                client.delete(
                    self._collection,
                    models.PointIdsList(points=[collection.point_id(n) for n in stale]),
                )
            for begin in range(0, len(new), _BATCH):
                part = new[begin : begin + _BATCH]
                client.upsert(
                    self._collection, [collection.point(n, wanted[n], document(n)) for n in part]
                )
            if (stale or new) and self._folder is not None:
                self._folder.write_state(wanted)
            count = len(wanted)
            if self.engine == "path" and count >= WARN_POINTS:
                advice = "use a Qdrant server" if count >= MAX_POINTS else "searches become slow"
                self._said.append(f"{count} runs in the embedded index: {advice}")
            said, self._said = "; ".join(self._said), []
            return said

    def search(self, text: str, among: Iterable[str], limit: int) -> list[tuple[str, float]]:
        """Return run ids and scores, best first.

        Args:
            text: What is looked for.
            among: Run ids that may be found.
            limit: How many are wanted at most.

        Raises:
            ResultError: The index cannot be used.
        """
        allowed = set(among)
        indices, values = encoder.encode_query(text)
        if not indices or not allowed:
            return []
        asked = models.SparseVector(indices=indices, values=values)
        step = _FIRST + limit
        with self._open() as client:
            while True:
                points = client.query_points(
                    self._collection,
                    query=asked,
                    using=collection.VECTOR,
                    limit=step,
                    with_payload=["run_id"],
                ).points
                pairs = (
                    (str((point.payload or {}).get("run_id")), point.score) for point in points
                )
                found = [(name, score) for name, score in pairs if name in allowed]
                # The filters are exact, so the ranking goes on until enough pass them.
                if len(found) >= limit or len(points) < step:
                    return found[:limit]
                step *= 8

    def count(self) -> int:
        """Return how many points there are."""
        with self._open() as client:
            return client.count(self._collection, exact=True).count

    def clear(self) -> None:
        """Delete the collection and create an empty one."""
        with self._guard:
            if self._folder is not None:
                self._shut()
                with self._folder.held():
                    self._folder.discard()
            else:
                with self._open() as client:
                    client.delete_collection(self._collection)
                    collection.create(client, self._collection)

    def status(self) -> dict[str, Any]:
        """Return engine, place, points and encoder; `error` says why it cannot be used."""
        about: dict[str, Any] = {"engine": self.engine, "encoder": encoder.VERSION}
        try:
            about["points"] = self.count()
        except PreflightError as error:
            about |= {"points": 0, "error": str(error)}
        if self._folder is not None:
            about["folder"] = str(self._folder.path)
        if self._url:
            about |= {"server": _without_user(self._url), "collection": self._collection}
        return about

    def close(self) -> None:
        """Release the index; the next operation opens it again."""
        with self._guard:
            self._shut(keep_memory=False)

    # Inside

    @contextmanager
    def _open(self) -> Iterator[QdrantClient]:
        """Lend the client to one thread; embedded on disk to one process."""
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                if self._client is None:
                    self._client = self._connect()
                    self._opened = time.monotonic()
                yield self._client
            except PreflightError:
                raise
            # The client raises what its transports and numpy raise.
            except Exception as error:
                self._shut(keep_memory=False)
                raise ResultError(
                    f"the index failed: {type(error).__name__}: {str(error)[:200]}",
                    hint="`mlx-preflight runs rebuild` rebuilds it from the records",
                ) from error
            finally:
                self._lease()

    def _lease(self) -> None:
        """Close an embedded index soon, or now when others had to wait for long."""
        if self.engine != "path" or self._client is None:
            return
        if time.monotonic() - self._opened > HOLD_S:
            self._shut()
            # Those who wait look every 20 ms; without a pause they would never come in.
            time.sleep(_PAUSE_S)
            return
        self._timer = threading.Timer(LEASE_S, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        with self._guard:
            if self._timer is not None:
                self._timer = None
                self._shut()

    def _shut(self, *, keep_memory: bool = True) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._client is not None and not (keep_memory and self.engine != "path"):
            self._client.close()
            self._client = None
        if self._folder is not None:
            self._folder.release()

    def _connect(self) -> QdrantClient:
        if self._url:
            return self._remote(self._url)
        if self._folder is None:
            client = QdrantClient(":memory:")
            self._prepare(client)
            return client
        self._folder.acquire()
        try:
            return self._embedded(self._folder)
        except BaseException:
            self._folder.release()
            raise

    def _remote(self, url: str) -> QdrantClient:
        parts = urlsplit(url)
        if self._key and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise UsageError(f"{url}: an API key would be sent unencrypted")
        with warnings.catch_warnings():
            # Of a key without encryption, which loopback does not need.
            warnings.simplefilter("ignore")
            client = QdrantClient(
                url=url, api_key=self._key, timeout=_TIMEOUT_S, check_compatibility=False
            )
        self._prepare(client)
        return client

    def _embedded(self, folder: EmbeddedFolder) -> QdrantClient:
        """Open the folder; a damaged, foreign or outdated index is deleted and created again."""
        try:
            client = folder.open()
            self._prepare(client)
        except Exception as error:  # noqa: BLE001  (json, pickle and sqlite raise their own)
            self._said.append(f"the index was damaged ({type(error).__name__}) and was rebuilt")
            folder.discard()
            client = folder.open()
            self._prepare(client)
        return client

    def _prepare(self, client: QdrantClient) -> None:
        """Create the collection, or make sure that it is one of ours."""
        if not client.collection_exists(self._collection):
            collection.create(client, self._collection)
            return
        # What this version wrote last needs no second look at every point.
        trusted = self._last_written() is not None
        odd = (
            0
            if trusted
            else client.count(self._collection, collection.of_other_encoders(), exact=True).count
        )
        wrong = not collection.has_shape(client, self._collection)
        if wrong or odd:
            what = "of another shape" if wrong else "made by another encoder"
            self._said.append(f"the index was {what} and was rebuilt")
            client.delete_collection(self._collection)
            collection.create(client, self._collection)

    def _last_written(self) -> dict[str, str] | None:
        """Return what the folder holds, if nothing else can have written since."""
        return self._folder.read_state() if self._folder is not None else None

    def _held(self, client: QdrantClient) -> dict[str, str]:
        """Return run id → revision of what the index holds."""
        if (known := self._last_written()) is not None and (
            client.count(self._collection, exact=True).count == len(known)
        ):
            return known
        held: dict[str, str] = {}
        offset: Any = None
        while True:
            points, offset = client.scroll(
                self._collection, limit=1000, offset=offset, with_payload=["run_id", "revision"]
            )
            for point in points:
                payload = point.payload or {}
                held[str(payload.get("run_id"))] = str(payload.get("revision"))
            if offset is None:
                return held


def _without_user(url: str) -> str:
    """Return an address without the name and password that it may hold."""
    return urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
