"""Runs of every gate on the clean sample and on each fault.

The gates run through the same code as for any other project, each sample judged in an
environment of its own, so what is proved holds for the tool versions that are recorded with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlx_preflight.core.child import run_child, side_by_side
from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import CheckResult, Status
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import Context
from mlx_preflight.run.proof_record import Trial, recorded_tool
from mlx_preflight.selftest import faults
from mlx_preflight.selftest.faults import Fault

_TIMEOUT_S = 300.0

_WORKERS = 4
"""Trials side by side; each has a folder of its own."""

GATES = tuple(session.id for session in register.sessions("gates"))


def trials(
    folder: Path, kept: Path, note: Callable[[str], None], chosen: Sequence[Fault] = faults.FAULTS
) -> Iterator[Trial]:
    """Run all gates on the clean project, then on every fault, each in a fresh copy.

    Args:
        folder: Empty folder for the copies.
        kept: Folder in which their environments stay, so that they are made once.
        note: Shows progress.
        chosen: Faults to plant.
    """
    planned = list(enumerate((None, *chosen)))
    environments = Environments(kept)

    def tried(item: tuple[int, Fault | None]) -> Trial:
        number, fault = item
        note(f"selftest {number + 1} of {len(planned)}: {fault.name if fault else 'clean'}")
        project = faults.write(folder / str(number), fault)
        return _trial(project, fault, environments.provide(project))

    with side_by_side(min(os.cpu_count() or 1, _WORKERS)) as pool:
        yield from pool.map(tried, planned)


class Environments:
    """Environments of the samples, one for each pyproject.toml, as nox makes them for a project."""

    def __init__(self, folder: Path) -> None:
        """Name the folder of the environments."""
        self._folder, self._lock = folder, threading.Lock()

    def provide(self, project: Path) -> Path:
        """Return the interpreter of a sample's environment, made if it is not there.

        Raises:
            ChildError: It cannot be made.
        """
        tools = (register.MYPY, *register.PYTEST)
        asked = "\n".join([(project / "pyproject.toml").read_text(encoding="utf-8"), *tools])
        venv = self._folder / hashlib.sha256(asked.encode()).hexdigest()[:16]
        python, stamp = venv / "bin" / "python", venv / "complete"
        with self._lock:
            if not stamp.exists():
                shutil.rmtree(venv, ignore_errors=True)
                self._make(venv, python, [str(project), *tools])
                stamp.touch()
        return python

    def _make(self, venv: Path, python: Path, wanted: Sequence[str]) -> None:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        if uv:
            create = [uv, "venv", "--quiet", "--python", sys.executable, str(venv)]
            install = [uv, "pip", "install", "--python", str(python), *wanted]
        else:
            create = [sys.executable, "-m", "venv", str(venv)]
            install = [str(python), "-m", "pip", "install", *wanted]
        for command in (create, install):
            done = run_child(command, cwd=self._folder.parent, timeout_s=_TIMEOUT_S)
            if done.returncode != 0:
                raise ChildError(f"a sample's environment cannot be made: {done.tail(4)}")


def _trial(project: Path, fault: Fault | None, python: Path) -> Trial:
    audited = fault.audited if fault else faults.ENVIRONMENT
    found = {gate: _judge(gate, project, audited, python) for gate in GATES}
    return Trial(
        fault.name if fault else "",
        fault.gates if fault else frozenset(),
        {
            gate: f"{check.status}: {check.reason}"
            for gate, check in found.items()
            if check.status is not Status.PASS
        },
        {gate: recorded_tool(check.measurements) for gate, check in found.items()},
    )


def _judge(gate: str, project: Path, audited: str | None, python: Path) -> CheckResult:
    settings = project_table.ProjectSettings(
        tests_min=1,
        timeout_s=_TIMEOUT_S,
        audit_environment=audited,
        audit_database=faults.DATABASE,
    )
    name = f"selftest-{project.name}"
    context = Context.of(project, settings, run_id=name, python=python, note=lambda _: None)
    (check,) = runner.run_session(register.find_session(gate)[0], context).checks
    return check
