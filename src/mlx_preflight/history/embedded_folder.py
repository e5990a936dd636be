"""Folder of an embedded index: its lock, its files, and what was written last.

The files are pickles of our own making (qdrant-client 1.20): they are never imported, and a
folder that belongs to somebody else is refused.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from qdrant_client import QdrantClient

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.history import encoder, run_log


class EmbeddedFolder:
    """Folder for one process at a time, which only its owner can read."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.path = path
        # Not thread-local: the timer of the lease releases on a thread of its own.
        self._lock = FileLock(f"{path}.lock", thread_local=False)

    def acquire(self) -> None:
        """Wait for the folder and lock it.

        Raises:
            ResultError: Another process held it all the time, somebody else owns it, or it
                cannot be written.
        """
        run_log.acquire(self._lock, self.path, "using the index")
        try:
            self._own()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock.is_locked:
            self._lock.release(force=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder for a block."""
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
        """Delete everything in the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._own()

    def read_state(self) -> dict[str, str] | None:
        """Return what was written last, if this encoder wrote it."""
        try:
            found = read_json(self.path / "held.json")
            if found["encoder"] != encoder.VERSION:
                return None
            return {str(key): str(value) for key, value in found["held"].items()}
        except (ResultError, KeyError, TypeError, AttributeError):
            return None

    def write_state(self, held: Mapping[str, str]) -> None:
        """Write run id → revision of everything in the index."""
        document = {"encoder": encoder.VERSION, "held": dict(held)}
        write_json(self.path / "held.json", document)

    def _own(self) -> None:
        """Make the folder ours alone: its files are unpickled."""
        self.path.mkdir(exist_ok=True, mode=0o700)
        found = self.path.stat()
        if self.path.is_symlink() or found.st_uid != os.getuid():
            raise ResultError(f"{self.path}: belongs to somebody else, so it is not opened")
        if found.st_mode & 0o077:
            self.path.chmod(0o700)
