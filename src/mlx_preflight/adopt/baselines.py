"""Baselines of the existing findings, recorded in the venvs of the repository's own gates."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from mlx_preflight.core.child import child_environment, run_child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.errors import ChildTimeoutError, PreflightError, UsageError
from mlx_preflight.core.heartbeat import heartbeat
from mlx_preflight.core.text import redact
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.gates import recorded_run
from mlx_preflight.gates.baselines.recording import GATES

HARNESS = Path(".nox/.cache/mlx-preflight/venv/bin/python")
"""Interpreter of the harness that nox makes in a project (see `venv.harness`)."""

_TIMEOUT_S, _GRACE_S = 1800.0, 10.0

TESTS_MINUTES = 10
"""Time after which `init` goes on without a baseline of tests."""

_BEAT_S = 10.0

_KEPT = 300
"""Characters of a child's error."""

_ERROR = re.compile("(?:error:|\u00d7|ERROR:) ")
"""How this package, uv and pip begin the line that says what is wrong."""


def record_baselines(
    project: Path, note: Callable[[str], None], tests_minutes: int = TESTS_MINUTES
) -> dict[str, str]:
    """Make the gates' venvs and record a baseline of each kind, where there are findings.

    Args:
        project: Root of the repository.
        note: Shows progress.
        tests_minutes: How long its tests may take; a baseline of them is left out after that.

    Returns:
        Kind → what was recorded, or why nothing was.

    Raises:
        UsageError: nox is not installed here.
    """
    if importlib.util.find_spec("nox") is None:
        raise UsageError("nox is not installed here", hint="`pip install nox uv`")
    done = {}
    # Lint comes last: an installation may generate modules that it will see from then on.
    for kind, gate in reversed(GATES.items()):
        note(f"{gate}: installing")
        nox = [sys.executable, "-m", "nox", "-f", str(project / "noxfile.py"), "-s", gate]
        try:
            limit_s = tests_minutes * 60.0 if kind == "tests" else _TIMEOUT_S
            done[kind] = _one(project, kind, nox, note, limit_s)
        except ChildTimeoutError:
            command = f"mlx-preflight baseline record {kind}"
            done[kind] = f"not recorded within {limit_s / 60:g} minutes; `{command}` takes longer"
        except PreflightError as error:
            done[kind] = f"not recorded: {error}"
    return done


def _one(
    project: Path, kind: str, nox: list[str], note: Callable[[str], None], limit_s: float
) -> str:
    gate = GATES[kind]
    # The run's own variables would make the child a part of another run.
    env = {key: value for key, value in child_environment().items() if not key.startswith("NOX_")}
    made = run_child(
        [*nox, "--install-only"], cwd=project, timeout_s=_TIMEOUT_S, env=env, grace_s=_GRACE_S
    )
    harness = project / HARNESS
    if made.returncode != 0 or not harness.exists():
        return f"not recorded: {gate} cannot be installed: {_why(made)}"
    command = [str(harness), "-P", "-m", "mlx_preflight", "baseline", "record", kind]
    arguments = ["--project", str(project), "--json"]
    note(f"{gate}: recording what is there")
    record = Workspace.of(project).artifacts(gate) / recorded_run.RECORD
    record.unlink(missing_ok=True)
    with heartbeat(_BEAT_S, lambda: note(f"{gate}: {recorded_run.progress(record) or 'at work'}")):
        ran = run_child(
            [*command, *arguments], cwd=project, timeout_s=limit_s, env=env, grace_s=_GRACE_S
        )
    if ran.returncode != 0:
        return f"not recorded: {_why(ran)}"
    found = json.loads(ran.stdout)
    path = Path(found["path"])
    if not found["total"]:
        # No findings, so nothing needs to be bound to this version of the tool.
        path.unlink()
        return "nothing to record"
    return f"{found['total']} in {path.relative_to(project)}"


def _why(ran: ChildRun) -> str:
    """Return what a child gave as its error, or its last lines."""
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if _ERROR.match(line)]
    if not errors:
        return ran.tail(2)
    return redact(" ".join(lines[errors[0] : errors[0] + 2]))[:_KEPT]
