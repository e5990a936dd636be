"""Command line of the scripts that run one criterion.

Scripts keep their results apart from the plan's, in `.preflight/scripts`, so that trying
one can neither complete nor spoil a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import CheckResult, SessionResult, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria.script import MEASURED
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run.context import Context, choose
from mlx_preflight.run.session import run_session


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """Finished session whose measurements are read by name."""

    context: Context
    result: SessionResult

    def value(self, name: str) -> Any:
        """Return a measurement's value, or None when it was not taken."""
        for check in self.result.checks:
            for measurement in check.measurements:
                if measurement.name == name:
                    return measurement.value
        return None

    def check(self, check_id: str) -> CheckResult:
        """Return one check."""
        return next(check for check in self.result.checks if check.id == check_id)


def main(
    session_id: str,
    needed: Sequence[str],
    lines: Callable[[ScriptRun], Iterable[str]],
    arguments: Sequence[str] | None = None,
    *,
    may_wait: Sequence[str] = (),
) -> int:
    """Run a session, print its lines, and return the exit code.

    Args:
        session_id: Session of the plan.
        needed: Checks that must pass for exit code 0.
        lines: What to print, from the measurements.
        arguments: Command line; None takes the process's.
        may_wait: Needed checks that may be BLOCKED, such as on a person's sign-off.

    Returns:
        0 when every needed check passed, 1 when one failed, 2 for a wrong argument, 3 when
        one could not be measured or is blocked.
    """
    options = _options(session_id, arguments)
    try:
        context = _context(options)
        result = _measured(session_id, context)
    except PreflightError as error:
        print(f"{error}\n{error.hint}".strip(), file=sys.stderr)
        return error.exit_code
    run = ScriptRun(dataclasses.replace(context, model=str(result.model["requested"])), result)
    if options.json:
        print(json.dumps(run.result.to_json(), sort_keys=True))
    else:
        _print(run, needed, lines)
    found = [
        status
        for check_id in needed
        if (status := run.check(check_id).status) is not Status.BLOCKED or check_id not in may_wait
    ]
    return Status.worst(found).exit_code


def _measured(session_id: str, context: Context) -> SessionResult:
    """Run the session, or take what the session that runs this script has just measured."""
    if handed := os.environ.get(MEASURED):
        return SessionResult.from_json(read_json(Path(handed)))
    session, _ = register.find_session(session_id)
    return run_session(session, context)


def _print(
    run: ScriptRun, needed: Sequence[str], lines: Callable[[ScriptRun], Iterable[str]]
) -> None:
    print(f"Model: {run.context.model} (evidence: {run.context.evidence})")
    for line in lines(run):
        print(line)
    for check_id in needed:
        check = run.check(check_id)
        if check.status is not Status.PASS:
            advice = f" -> {check.remedy}" if check.remedy else ""
            print(f"{check.status} {check.id}: {check.reason}{advice}")


def _options(session_id: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=register.find_session(session_id)[0].title)
    parser.add_argument("--project", type=Path, default=Path(), help="root of the project")
    RunOptions.add_to(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(arguments)


def _context(options: argparse.Namespace) -> Context:
    project = options.project.resolve()
    # The scripts load, ask and train a model: like their sessions, they need no project.
    settings = project_table.load_settings(project, required=False)
    return Context.of(
        project,
        settings,
        choose(settings, **RunOptions.parsed(options).choice()),
        # A session that runs its script has measured in the plan's own folder.
        workspace=None if MEASURED in os.environ else Workspace.of(project).scripts,
        note=lambda line: print(line, file=sys.stderr, flush=True),
    )
