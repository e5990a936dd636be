"""Run sessions of the plan in the background for agents: start, poll, cancel, never two at once.

A client chooses a session, check or group of the register and a project that the server was
started for; no argument of a client's own reaches a process, and no shell is involved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from mcp_local.job import Job, folder, forget
from mlx_preflight import plan, project_table, register, start
from mlx_preflight.claim import Claim
from mlx_preflight.errors import PreflightError, UsageError
from mlx_preflight.isolate import child_environment, kill_group
from mlx_preflight.json_file import read_json
from mlx_preflight.runner import RUN_ID_VARIABLE, new_run_id

MAX_JOBS = 2
"""Runs of different projects side by side; each is heavy."""


class BusyError(UsageError):
    """Report that a project is already being run, and by which run."""


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
            if sum(job.running() for job in self._jobs.values()) >= MAX_JOBS:
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
        """Return a run that this server, or another one of its projects, started.

        Raises:
            UsageError: None of that id was started.
            ResultError: What is known of it is damaged.
        """
        if run_id in self._jobs:
            return self._jobs[run_id]
        for project in self.projects:
            if found := Job.of(project, run_id):
                return found
        names = [path.stem for item in self.projects for path in folder(item).glob("*.json")]
        known = ", ".join(sorted(names)[-3:]) or "none"
        raise UsageError(
            f"run {run_id[:80]!r} was not started here; the newest that were: {known}",
            hint="other runs are found with search_runs and read with read_report",
        )

    def close(self) -> None:
        """Stop every run: nobody could ask for it any more."""
        for job in self._jobs.values():
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
        other = start.at_work(state)
        claim = Claim.take(state / "agent-run.lock")
        if claim is None:
            raise BusyError(f"busy, run {_holder(state)}: poll it until it ends, or cancel it")
        if other:
            # A person's own nox: no server can poll or stop it.
            claim.release()
            raise BusyError(f"busy, {other} was begun by nox; wait until it ends")
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
        folder(project).mkdir(exist_ok=True)
        forget(project)
        log = folder(project) / f"{run_id}.log"
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
        job = Job(run_id, project, target, planned, process, claim, time.time())
        try:
            job.save()
        except BaseException:
            kill_group(process)
            raise
        return job


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
