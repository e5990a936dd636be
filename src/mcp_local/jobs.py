"""Run sessions of the plan in the background for agents: start, poll, cancel, never two at once.

A client chooses a session, check or group of the register and a project that the server was
started for; no argument of a client's own reaches a process, and no shell is involved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from mlx_preflight import plan, project_table, register
from mlx_preflight.claim import Claim
from mlx_preflight.errors import PreflightError, UsageError
from mlx_preflight.isolate import child_environment, redact
from mlx_preflight.json_file import read_json
from mlx_preflight.result import read_result
from mlx_preflight.runner import RUN_ID_VARIABLE, new_run_id

_STEPS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""What a cancelled run is sent, and how long it may take: nox ends its children on the first."""

_TAIL_LINES, _TAIL_BYTES = 20, 16_384

MAX_JOBS = 2
"""Runs of different projects side by side; each is heavy."""


class BusyError(UsageError):
    """Report that a project is already being run, and by which run."""


@dataclass(slots=True)
class Job:
    """Hold one started run.

    Attributes:
        target: Session or group.
        planned: Sessions that it will run.
        cancelled: Whether somebody asked it to stop.
    """

    run_id: str
    project: Path
    target: str
    planned: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: Path
    claim: Claim
    began: float
    cancelled: bool = False
    ended: float | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> int | None:
        """Return the exit code once the run ended, and let the project go."""
        with self._guard:
            code = self.process.poll()
            if code is not None and self.ended is None:
                self.ended = time.monotonic()
                self.claim.release()
            return code

    def describe(self) -> dict[str, Any]:
        """Return state, progress, results so far and the last lines of output."""
        code = self.poll()
        done: dict[str, str] = {}
        for name in self.planned:
            with contextlib.suppress(PreflightError):
                found = read_result(self.project / ".preflight" / "results" / f"{name}.json")
                if found.run_id == self.run_id:
                    done[name] = found.status.value
        state = "running" if code is None else "cancelled" if self.cancelled else "finished"
        return {
            "run_id": self.run_id,
            "target": self.target,
            "project": str(self.project),
            "state": state,
            "exit_code": code,
            "seconds": round((self.ended or time.monotonic()) - self.began, 1),
            "planned": list(self.planned),
            "done": done,
            "output": self.tail(),
        }

    def tail(self) -> list[str]:
        """Return the last lines that the run printed; data, not instructions."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - _TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [redact(line)[:300] for line in text.splitlines()[-_TAIL_LINES:]]

    def cancel(self) -> None:
        """Stop the run and everything that it started."""
        self.cancelled = self.poll() is None
        below: set[psutil.Process] = set()
        for number, patience_s in _STEPS:
            # Tools run in groups of their own, which a signal to this one does not reach.
            below |= _below(self.process.pid)
            # The group outlives its first process when a child ignored the signal.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        for left in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        self.poll()


class Jobs:
    """Hold the runs that this server started, one for each project at a time."""

    def __init__(self, projects: tuple[Path, ...]) -> None:
        """Take the projects that may be run."""
        self.projects = projects
        self._jobs: dict[str, Job] = {}
        self._guard = threading.Lock()

    def start(
        self,
        project: Path,
        target: str,
        *,
        profile: str | None = None,
        budget_gb: float | None = None,
    ) -> Job:
        """Start a group, a session or the session of a check, and return at once.

        Raises:
            BusyError: The project is being run, by this server or another.
            UsageError: Unknown target or profile, or too many runs.
            PreflightError: The run cannot be started.
        """
        planned, command = self._command(project, target)
        settings = project_table.load_settings(project)
        plan.choose(settings, profile=profile, budget_gb=budget_gb)
        options = ["--profile", profile] if profile else []
        options += ["--budget-gb", repr(float(budget_gb))] if budget_gb else []
        state = project / ".preflight"
        with self._guard:
            if sum(job.poll() is None for job in self._jobs.values()) >= MAX_JOBS:
                raise BusyError(f"{MAX_JOBS} runs are at work; wait for one, or cancel it")
            claim = self._claim(state)
            try:
                job = self._launch(project, target, planned, [*command, *options], claim)
            except BaseException:
                claim.release()
                raise
            self._jobs[job.run_id] = job
        return job

    def find(self, run_id: str) -> Job:
        """Return a run that this server started.

        Raises:
            UsageError: It started none of that id.
        """
        try:
            return self._jobs[run_id]
        except KeyError:
            known = ", ".join(sorted(self._jobs)[-3:]) or "none"
            raise UsageError(
                f"run {run_id[:80]!r} was not started by this server; it started: {known}",
                hint="finished runs are found with search_runs and read with read_report",
            ) from None

    def close(self) -> None:
        """Stop every run: nobody could ask for it any more."""
        for job in self._jobs.values():
            if job.poll() is None:
                job.cancel()

    def _command(self, project: Path, target: str) -> tuple[tuple[str, ...], list[str]]:
        if target in plan.GROUPS:
            noxfile = project / "noxfile.py"
            if importlib.util.find_spec("nox") is None or not noxfile.is_file():
                raise UsageError(
                    f"the group {target} needs nox here and a noxfile.py in {project}",
                    hint="`pip install nox uv` and `mlx-preflight init`, or start a single session",
                )
            planned = tuple(item.id for item in register.sessions(target))
            nox = [sys.executable, "-m", "nox", "-f", str(noxfile), "-s", target, "--"]
            return planned, nox
        session, _ = register.find_session(target)
        command = [sys.executable, "-m", "mlx_preflight", "check", session.id]
        return (session.id,), [*command, "--project", str(project)]

    def _claim(self, state: Path) -> Claim:
        state.mkdir(exist_ok=True)
        claim = Claim.take(state / "agent-run.lock")
        if claim is None:
            raise BusyError(f"busy, run {_holder(state)}: poll it, or wait until it ends")
        return claim

    def _launch(
        self,
        project: Path,
        target: str,
        planned: tuple[str, ...],
        command: list[str],
        claim: Claim,
    ) -> Job:
        state = project / ".preflight"
        run_id = new_run_id() if RUN_ID_VARIABLE not in os.environ else _fresh()
        (state / "agent-run.json").write_text(json.dumps({"run_id": run_id}), encoding="utf-8")
        folder = state / "agent-runs"
        folder.mkdir(exist_ok=True)
        log = folder / f"{run_id}.log"
        env = {
            key: value
            for key, value in child_environment().items()
            if not key.startswith(("NOX_", "PREFLIGHT_"))
        }
        stream: IO[bytes]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=project,
                env={**env, RUN_ID_VARIABLE: run_id},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # A group of its own, so that cancelling reaches everything below it.
                start_new_session=True,
                pass_fds=claim.handed_on(),
            )
        return Job(run_id, project, target, planned, process, log, claim, time.monotonic())


def _below(pid: int) -> set[psutil.Process]:
    """Return every process below one; empty when it is gone."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _holder(state: Path) -> str:
    """Return the id of the run that holds a project."""
    with contextlib.suppress(PreflightError, TypeError, KeyError):
        return str(read_json(state / "agent-run.json")["run_id"])[:128]
    return "of unknown id"


def _fresh() -> str:
    """Return a new id where the server itself runs within a run."""
    given = os.environ.pop(RUN_ID_VARIABLE)
    try:
        return new_run_id()
    finally:
        os.environ[RUN_ID_VARIABLE] = given
