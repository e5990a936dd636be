"""One run that a server started, also seen from another server of the same project.

What any server must know of a run is in a file beside its log: a server that was started again,
or that another agent uses, can poll and stop it too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mlx_preflight.core.errors import PreflightError, ResultError
from mlx_preflight.core.file_lock import ProjectLock
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import read_result
from mlx_preflight.core.text import one_line, redact
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.history.record_form import valid_run_id
from mlx_preflight.plan import register
from mlx_preflight.run.context import RUN_ID_VARIABLE

_STEPS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""What a cancelled run is sent, and how long it may take: nox ends its children on the first."""

KEPT = 50
"""Runs of a project whose output is kept; the run history keeps their results."""

_TAIL_LINES, _TAIL_BYTES = 20, 16_384


def folder(project: Path) -> Path:
    """Return the folder of the logs of a project's runs, and of what is known of them."""
    return Workspace.of(project).agent_runs


def prune_logs(project: Path) -> None:
    """Remove what is kept of all but the last runs; run ids sort by time.

    Raises:
        OSError: The folder cannot be written.
    """
    kept = sorted(path.stem for path in folder(project).glob("*.json"))
    for name in kept[:-KEPT]:
        for suffix in (".log", ".json"):
            (folder(project) / f"{name}{suffix}").unlink(missing_ok=True)


@dataclass(slots=True)
class Job:
    """One started run.

    Attributes:
        target: Session or group.
        planned: Sessions that it will run.
        process: What runs it: a child, or another server's; None when it is gone.
        lock: Held by the server that started it; None in any other.
        began: Seconds since the epoch.
        cancelled: Whether somebody asked it to stop.
    """

    run_id: str
    project: Path
    target: str
    planned: tuple[str, ...]
    process: subprocess.Popen[bytes] | psutil.Process | None
    lock: ProjectLock | None
    began: float
    cancelled: bool = False
    ended: float | None = None
    exit_code: int | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, project: Path, run_id: str) -> Job | None:
        """Return a run that some server of the project started, or None.

        Raises:
            ResultError: What is known of it is damaged.
        """
        path = folder(project) / f"{run_id}.json"
        if not valid_run_id(run_id) or not path.is_file():
            return None
        known = read_json(path)
        try:
            planned = tuple(register.find_session(name)[0].id for name in known["planned"])
            ended, code = known["ended"], known["exit_code"]
            process = _process(int(known["pid"]), run_id) if ended is None else None
            return cls(
                *(run_id, project, one_line(known["target"], 128), planned, process, None),
                began=float(known["began"]),
                cancelled=known["cancelled"] is True,
                ended=None if ended is None else float(ended),
                exit_code=None if code is None else int(code),
            )
        except (KeyError, TypeError, ValueError, AttributeError, PreflightError) as error:
            raise ResultError(f"{path}: damaged: {error!r}") from error

    @property
    def log(self) -> Path:
        """Return where the run's output goes."""
        return folder(self.project) / f"{self.run_id}.log"

    def save(self) -> None:
        """Write what other servers must know of the run."""
        document = {key: getattr(self, key) for key in ("run_id", "target", "planned", "began")}
        document |= {key: getattr(self, key) for key in ("ended", "exit_code", "cancelled")}
        document["pid"] = self.process.pid if self.process is not None else 0
        write_json(self.log.with_suffix(".json"), document)

    def running(self) -> bool:
        """Return whether it still runs; the server that started it releases the project then."""
        with self._guard:
            if self.lock is None:
                return self._lives()
            if self.ended is None and not self._lives():
                self.ended = time.time()
                self.lock.release()
                # Without a file other servers see the end by the process.
                with contextlib.suppress(PreflightError):
                    # Another server may have been asked to stop it.
                    other = Job.of(self.project, self.run_id)
                    self.cancelled |= other is not None and other.cancelled
                    self.save()
            return self.ended is None

    def _lives(self) -> bool:
        if isinstance(self.process, subprocess.Popen):
            self.exit_code = self.process.poll()
            return self.exit_code is None
        if self.process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE)
        return False

    def describe(self) -> dict[str, Any]:
        """Return state, progress, results so far and the last lines of output."""
        running = self.running()
        done: dict[str, str] = {}
        for name in self.planned:
            with contextlib.suppress(PreflightError):
                found = read_result(Workspace.of(self.project).result(name))
                if found.run_id == self.run_id:
                    done[name] = found.status.value
        return {
            "run_id": self.run_id,
            "target": self.target,
            "project": str(self.project),
            "state": "running" if running else "cancelled" if self.cancelled else "finished",
            "exit_code": self.exit_code,
            "seconds": round(max(0.0, self._end(running) - self.began), 1),
            "planned": list(self.planned),
            "done": done,
            "output": self.tail(),
        }

    def _end(self, running: bool) -> float:
        if running:
            return time.time()
        try:
            # Nobody saw the end of a run whose server was killed; its last output is near it.
            return self.ended or self.log.stat().st_mtime
        except OSError:
            return self.began

    def tail(self) -> list[str]:
        """Return the last lines that the run printed; data, not instructions."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - _TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [one_line(redact(line), 300) for line in text.splitlines()[-_TAIL_LINES:]]

    def cancel(self) -> None:
        """Stop the run and everything that it started; one that ended is left as it is."""
        if not self.running() or self.process is None:
            return
        self.cancelled = True
        # A disk that is full must not keep a run alive.
        with contextlib.suppress(PreflightError):
            self.save()
        below: set[psutil.Process] = set()
        for number, patience_s in _STEPS:
            # Tools run in groups of their own, which a signal to this one does not reach.
            below |= _below(self.process.pid)
            # The group outlives its first process when a child ignored the signal.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            deadline = time.monotonic() + patience_s
            while self._lives() and time.monotonic() < deadline:
                time.sleep(0.02)
        for left in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        self.running()


def _process(pid: int, run_id: str) -> psutil.Process | None:
    """Return the process of a run; an id that was reused since is another's."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid)
        if found.environ().get(RUN_ID_VARIABLE) == run_id:
            return found
    return None


def _below(pid: int) -> set[psutil.Process]:
    """Return every process below one; empty when it is gone."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()
