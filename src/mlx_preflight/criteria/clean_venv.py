"""Installation of the project into a clean venv, with `pip check` there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import run_child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.units import format_seconds
from mlx_preflight.run.context import Context

PIP = "pip>=25,<27"


@dataclass(frozen=True, slots=True)
class Installation:
    """Outcome of an installation into a clean venv.

    Attributes:
        install: How building or installing ended, or why it could not be tried.
        pip_check: How `pip check` ended in that venv, likewise.
        artifact: What was installed: the name of the wheel, or `-e .`.
        beside: How `pip check` ended after more was installed beside it, likewise.
    """

    install: ChildRun | str
    pip_check: ChildRun | str
    artifact: str = "-e ."
    beside: ChildRun | str = "nothing was installed beside it"


def editable(context: Context, session_id: str) -> Installation:
    """Install the project with `pip install -e .`."""
    return _install(context, context.scratch(session_id), ["-e", "."])


def from_wheel(context: Context, session_id: str, beside: Sequence[str] = ()) -> Installation:
    """Build a wheel of the project and install that file, then other packages beside it."""
    folder = context.scratch(session_id)
    dist = folder / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        build = [uv, "build", "--quiet", "--wheel", "--out-dir", str(dist), "."]
    else:
        build = [str(context.python), "-m", "pip", "wheel", "--no-deps", "-w", str(dist), "."]
    built = _run(context, build)
    wheels = sorted(dist.glob("*.whl"))
    if built.returncode != 0 or len(wheels) != 1:
        return Installation(built, f"{len(wheels)} wheels were built, so none was installed", "")
    return _install(context, folder, [str(wheels[0])], wheels[0].name, beside)


def judge_install(done: Installation) -> Outcome:
    """Judge the installation itself."""
    if isinstance(done.install, str):
        return Outcome(Status.ERROR, done.install)
    seconds = Measurement("install_s", round(done.install.duration_s, 2), "s")
    if done.install.returncode != 0 or not done.artifact:
        reason = f"the installation exited {done.install.returncode}: {done.install.tail(3)}"
        return Outcome(Status.FAIL, reason, measurements=(seconds,))
    reason = (
        f"{done.artifact} installed into a clean venv in {format_seconds(done.install.duration_s)}"
    )
    return Outcome(Status.PASS, reason, measurements=(seconds,))


def judge_pip_check(done: ChildRun | str) -> Outcome:
    """Judge the output of `pip check`: only its own sentence is a pass."""
    if isinstance(done, str):
        return Outcome(Status.ERROR, done)
    if done.returncode == 0 and "No broken requirements found" in done.stdout:
        return Outcome(Status.PASS, "pip check: No broken requirements found.")
    conflicts = [
        line
        for line in done.stdout.splitlines()
        if re.search(r"has requirement|requires|is not supported", line)
    ]
    if done.returncode == 1 and conflicts:
        return Outcome(Status.FAIL, f"{len(conflicts)} conflicts; {conflicts[0]}")
    return Outcome(Status.ERROR, f"pip check exited {done.returncode}: {done.tail(2)}")


def _install(
    context: Context,
    folder: Path,
    what: list[str],
    artifact: str = "-e .",
    beside: Sequence[str] = (),
) -> Installation:
    venv = folder / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    uv = shutil.which("uv")
    python = venv / "bin" / "python"
    if uv:
        create = [uv, "venv", "--quiet", "--python", str(context.python), str(venv)]
        install = [uv, "pip", "install", "--python", str(python), PIP]
    else:
        create = [str(context.python), "-m", "venv", str(venv)]
        install = [str(python), "-m", "pip", "install"]
    try:
        made = _run(context, create)
        if made.returncode != 0:
            message = f"no clean venv could be made: {made.tail(2)}"
            return Installation(message, message, artifact)
        installed = _run(context, [*install, *what])
        if installed.returncode != 0:
            reason = "the installation failed, so there is nothing to check"
            return Installation(installed, reason, artifact)
        check = [str(python), "-m", "pip", "--disable-pip-version-check", "check"]
        checked = _run(context, check)
        if not beside:
            return Installation(installed, checked, artifact)
        more = _run(context, [*install, *what, *beside])
        if more.returncode != 0:
            reason = f"{', '.join(beside)} cannot be installed beside it: {more.tail(3)}"
            return Installation(installed, checked, artifact, reason)
        return Installation(installed, checked, artifact, _run(context, check))
    finally:
        shutil.rmtree(venv, ignore_errors=True)


def _run(context: Context, argv: list[str]) -> ChildRun:
    return run_child(argv, cwd=context.project, timeout_s=context.settings.timeout_s)
