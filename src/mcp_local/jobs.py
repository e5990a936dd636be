"""Runs of the plan in the background for agents: start, poll, cancel, never two at once.

A client chooses a session, check or group of the register and a project that the server was
started for; no argument of a client's own reaches a process, and no shell is involved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mcp_local.job import Job, folder, prune_logs
from mlx_preflight.core.child import child_environment, kill_group
from mlx_preflight.core.errors import PreflightError, UsageError
from mlx_preflight.core.file_lock import ProjectLock
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import register, spec
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run import context, start
from mlx_preflight.run.context import RUN_ID_VARIABLE, new_run_id

WITH_REHEARSAL, WITHOUT = "run", "qualify"
"""Group of the sessions that judge a training run."""

MAX_JOBS = 2
"""Runs of different projects side by side; each is heavy."""


class BusyError(UsageError):
    """Project that is already being run, and by which run."""


@dataclass(frozen=True, slots=True)
class _RunCommand:
    """Run that is to be started.

    Attributes:
        target: Group, session or check that was asked for.
        planned: Ids of the sessions that belong to it.
        command: What starts it.
    """

    run_id: str
    project: Path
    target: str
    planned: tuple[str, ...]
    command: list[str]


class Jobs:
    """Runs that this server started, one for each project at a time."""

    def __init__(self, projects: tuple[Path, ...]) -> None:
        """Keep the projects that may be run."""
        self.projects = projects
        self._jobs: dict[str, Job] = {}
        self._guard = threading.Lock()

    def start(
        self,
        project: Path,
        target: str,
        options: RunOptions | None = None,
    ) -> Job:
        """Start a group, a session or the session of a check, and return at once.

        Raises:
            BusyError: The project is being run, by this server or another.
            UsageError: Unknown target or profile, or too many runs.
            PreflightError: The run cannot be started.
        """
        planned, command = self._command(project, target)
        group = target in spec.GROUPS
        required = group or register.needs_project(register.find_session(target)[0])
        settings = project_table.load_settings(project, required=required)
        chosen = options or RunOptions()
        context.choose(settings, **chosen.choice())
        # The server itself may run within a run, whose id this one must not take.
        run_id = new_run_id(inherit=False)
        arguments = [*command, *chosen.arguments()]
        return self._start(_RunCommand(run_id, project, target, planned, arguments))

    def qualify(
        self,
        project: Path,
        arguments: Sequence[str],
        budget_gb: float | None,
        *,
        rehearse: bool = False,
    ) -> Job:
        """Start judging a training run, and return at once.

        Args:
            project: Folder that it would be started in; it need not be a project.
            arguments: Arguments of mlx_lm.lora.
            budget_gb: Memory budget; None where nobody asked.
            rehearse: Whether slices of the model are trained, too.

        Raises:
            BusyError: The project is being run, by this server or another.
            PreflightError: The run cannot be started.
        """
        group = WITH_REHEARSAL if rehearse else WITHOUT
        run_id = new_run_id(inherit=False)
        command = [sys.executable, "-m", "mlx_preflight", "qualify", f"--run-id={run_id}"]
        command += [f"--budget-gb={budget_gb!r}"] if budget_gb else []
        command += ["--rehearse"] if rehearse else []
        planned = tuple(item.id for item in register.sessions(group))
        command += ["--", *arguments]
        return self._start(_RunCommand(run_id, project, group, planned, command))

    def _start(self, run: _RunCommand) -> Job:
        state = Workspace.of(run.project).folder
        with self._guard:
            if sum(job.running() for job in self._jobs.values()) >= MAX_JOBS:
                raise BusyError(
                    f"{MAX_JOBS} runs are already in progress; wait for one, or cancel it"
                )
            lock = self._acquire(state)
            try:
                job = _launch(run, lock)
            except BaseException:
                lock.release()
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
        if target in spec.GROUPS:
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

    def _acquire(self, state: Path) -> ProjectLock:
        state.mkdir(exist_ok=True)
        other = start.run_in_progress(state)
        lock = ProjectLock.try_acquire(Workspace(state).agent_lock)
        if lock is None:
            raise BusyError(f"busy, run {_holder(state)}: poll it until it ends, or cancel it")
        if other:
            # A person's own nox: no server can poll or stop it.
            lock.release()
            raise BusyError(f"busy, {other} was started by nox; wait until it ends")
        return lock


def _launch(run: _RunCommand, lock: ProjectLock) -> Job:
    write_json(Workspace.of(run.project).agent_run, {"run_id": run.run_id})
    folder(run.project).mkdir(exist_ok=True)
    prune_logs(run.project)
    log = folder(run.project) / f"{run.run_id}.log"
    env = {
        key: value
        for key, value in child_environment().items()
        if not key.startswith(("NOX_", "PREFLIGHT_"))
    }
    stream: IO[bytes]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            run.command,
            cwd=run.project,
            env={**env, RUN_ID_VARIABLE: run.run_id},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # A group of its own, so that cancelling reaches everything below it.
            start_new_session=True,
            pass_fds=lock.inheritable_fds(),
        )
    job = Job(run.run_id, run.project, run.target, run.planned, process, lock, time.time())
    try:
        job.save()
    except BaseException:
        kill_group(process)
        raise
    return job


def _holder(state: Path) -> str:
    """Return the id of the run that holds a project."""
    with contextlib.suppress(PreflightError, TypeError, KeyError):
        return str(read_json(Workspace(state).agent_run)["run_id"])[:128]
    return "of unknown id"
