"""One run of a gate's tool, in the harness or in the judged environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core import judged_environment
from mlx_preflight.core.child import child_environment, run_child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.run.context import Context


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One run of a tool.

    Attributes:
        name: Distribution of the tool.
        version: Its version in this venv.
        done: How it ended.
    """

    name: str
    version: str
    done: ChildRun

    def measurements(self, *more: Measurement) -> tuple[Measurement, ...]:
        """Return what every gate records, and `more`."""
        return (
            *more,
            Measurement("duration_s", round(self.done.duration_s, 3), "s"),
            Measurement("tool", f"{self.name} {self.version}", "text"),
        )

    def error(self, text: str) -> Outcome:
        """Return the outcome of a tool that could not judge, with its last lines."""
        tail = self.done.signal_reason() or self.done.tail(4)
        reason = f"{text} (exit {self.done.returncode}): {tail}"
        return Outcome(Status.ERROR, reason, measurements=self.measurements())


def run(
    context: Context,
    name: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
) -> ToolRun:
    """Run `python -m NAME ARGUMENTS…` in the project.

    Args:
        context: The run.
        name: Module of the tool.
        arguments: What it is given.
        env: Complete environment; None takes this process's without secrets.
        python: The harness's own interpreter, or `context.python` for a tool that must see
            what the project sees.

    Raises:
        ChildError: The tool is not installed there, or ran past its time.
        ResultError: The state folder cannot be written.
    """
    distribution, where = name.replace("_", "-"), judged_environment.inspect(python)
    version = where.version(distribution)
    if version is None:
        raise ChildError(
            f"{distribution} is not installed in {where.prefix}",
            hint="run the gate with nox, or `pip install -e .[dev]`",
        )
    _hide_state(context)
    env = dict(child_environment() if env is None else env)
    # A tool may look for others by name, also where nobody activated this venv.
    env["PATH"] = os.pathsep.join((str(python.parent), env.get("PATH", os.defpath)))
    done = run_child(
        [str(python), "-m", name, *arguments],
        cwd=context.project,
        timeout_s=context.settings.timeout_s,
        env=env,
    )
    return ToolRun(distribution, version, done)


def _hide_state(context: Context) -> None:
    """Keep black, and git, out of the state folder of a project that does not ignore it."""
    path = Workspace(context.state).ignore_file
    if not path.exists():
        write_text(path, "*\n")


def relative(name: str, project: Path) -> str:
    """Return a file's path relative to the project, with `/`; complete where it is outside."""
    path = Path(name)
    return (path.relative_to(project) if path.is_relative_to(project) else path).as_posix()
