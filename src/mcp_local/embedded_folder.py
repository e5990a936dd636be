"""Own the folder of an embedded index: its lock, its files, and what was written last.

The files are pickles of our own making (qdrant-client 1.20): they are never imported, and a
folder that belongs to somebody else is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from qdrant_client import QdrantClient

from mcp_local import encoder
from mlx_preflight.errors import ResultError

_WAIT_S = 30.0


class EmbeddedFolder:
    """Let one process at a time use a folder, which only its owner can read."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.path = path
        # Not thread-local: the timer of the lease releases on a thread of its own.
        self._lock = FileLock(f"{path}.lock", timeout=_WAIT_S, thread_local=False)

    def acquire(self) -> None:
        """Wait for the folder, and hold it.

        Raises:
            ResultError: Another process held it all the time, somebody else owns it, or it
                cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock.acquire(poll_interval=0.02)
        except Timeout as error:
            raise ResultError(
                f"{self.path}: another process has been using the index for {_WAIT_S:.0f} s"
            ) from error
        except OSError as error:
            raise ResultError(f"{self.path}: {error.strerror or error}") from error
        try:
            self._own()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others use the folder."""
        if self._lock.is_locked:
            self._lock.release(force=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for a block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def open(self) -> QdrantClient:
        """Return a client of the folder, which must be held."""
        with warnings.catch_warnings():
            # It warns of its own limits at 20,000 points; `sync` says so earlier and better.
            warnings.simplefilter("ignore")
            return QdrantClient(path=str(self.path))

    def discard(self) -> None:
        """Throw everything in the folder away."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._own()

    def read_state(self) -> dict[str, str] | None:
        """Return what was written last, if this encoder wrote it."""
        try:
            found = json.loads((self.path / "held.json").read_text(encoding="utf-8"))
            if found["encoder"] != encoder.VERSION:
                return None
            return {str(key): str(value) for key, value in found["held"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write_state(self, held: Mapping[str, str]) -> None:
        """Write down run id → revision of everything in the index."""
        scratch = self.path / "held.json.new"
        document = {"encoder": encoder.VERSION, "held": dict(held)}
        scratch.write_text(json.dumps(document), encoding="utf-8")
        os.replace(scratch, self.path / "held.json")

    def _own(self) -> None:
        """Make the folder ours alone: what lies in it is unpickled."""
        self.path.mkdir(exist_ok=True, mode=0o700)
        found = self.path.stat()
        if self.path.is_symlink() or found.st_uid != os.getuid():
            raise ResultError(f"{self.path}: belongs to somebody else, so it is not opened")
        if found.st_mode & 0o077:
            self.path.chmod(0o700)
