"""Run a gate's tool in the session's own venv, and say how long it took and which it was."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.errors import ChildError
from mlx_preflight.isolate import Finished, child_environment, run_child
from mlx_preflight.json_file import write_text
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

NAMED = 10
"""Findings named in a reason; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Hold one run of a tool.

    Attributes:
        name: Distribution of the tool.
        version: Its version in this venv.
        done: How it ended.
    """

    name: str
    version: str
    done: Finished

    def measurements(self, *more: Measurement) -> tuple[Measurement, ...]:
        """Return what every gate records, and `more`."""
        return (
            *more,
            Measurement("duration_s", round(self.done.duration_s, 3), "s"),
            Measurement("tool", f"{self.name} {self.version}", "text"),
        )

    def error(self, text: str) -> Outcome:
        """Return the outcome of a tool that could not judge, with its last lines."""
        tail = self.done.death() or self.done.tail(4)
        reason = f"{text} (exit {self.done.returncode}): {tail}"
        return Outcome(Status.ERROR, reason, measurements=self.measurements())


def run(context: Context, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run `python -m NAME ARGUMENTS…` in the project.

    Raises:
        ChildError: The tool is not installed in this venv, or ran past its time.
        ResultError: The state folder cannot be written.
    """
    distribution = name.replace("_", "-")
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise ChildError(
            f"{distribution} is not installed in {sys.prefix}",
            hint="run the gate with nox, or `pip install -e .[dev]`",
        ) from error
    _hide_state(context)
    env = dict(child_environment() if env is None else env)
    # A tool may look for its fellows by name, also where nobody activated this venv.
    env["PATH"] = os.pathsep.join((str(Path(sys.prefix) / "bin"), env.get("PATH", os.defpath)))
    done = run_child(
        [sys.executable, "-m", name, *arguments],
        cwd=context.project,
        timeout_s=context.settings.timeout_s,
        env=env,
    )
    return Ran(distribution, version, done)


def _hide_state(context: Context) -> None:
    """Keep black, and git, out of the state folder of a project that does not ignore it."""
    path = context.state / ".gitignore"
    if not path.exists():
        write_text(path, "*\n")


def listed(findings: list[str]) -> str:
    """Return the first findings, and how many there are beyond them."""
    more = f"; and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    return "; ".join(findings[:NAMED]) + more
