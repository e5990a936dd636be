"""Record what a repository owes today, in the venvs of its own gates."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

from mlx_preflight.errors import PreflightError, UsageError
from mlx_preflight.gates.recording import GATES
from mlx_preflight.isolate import child_environment, run_child

_TIMEOUT_S = 1800.0


def record(project: Path, note: Callable[[str], None]) -> dict[str, str]:
    """Make the gates' venvs and record a baseline of each kind, where there is debt.

    Returns:
        Kind → what was recorded, or why nothing was.

    Raises:
        UsageError: nox is not installed here.
    """
    if importlib.util.find_spec("nox") is None:
        raise UsageError("nox is not installed here", hint="`pip install nox uv`")
    done = {}
    for kind, gate in GATES.items():
        note(f"{gate}: installing")
        nox = [sys.executable, "-m", "nox", "-f", str(project / "noxfile.py"), "-s", gate]
        try:
            done[kind] = _one(project, kind, gate, nox)
        except PreflightError as error:
            done[kind] = f"not recorded: {error}"
    return done


def _one(project: Path, kind: str, gate: str, nox: list[str]) -> str:
    # The run's own variables would make the child a part of another run.
    env = {key: value for key, value in child_environment().items() if not key.startswith("NOX_")}
    made = run_child([*nox, "--install-only"], cwd=project, timeout_s=_TIMEOUT_S, env=env)
    python = project / ".nox" / gate / "bin" / "python"
    if made.returncode != 0 or not python.exists():
        return f"not recorded: {gate} cannot be installed: {made.tail(2)}"
    command = [str(python), "-m", "mlx_preflight", "baseline", "record", kind]
    arguments = ["--project", str(project), "--json"]
    ran = run_child([*command, *arguments], cwd=project, timeout_s=_TIMEOUT_S, env=env)
    if ran.returncode != 0:
        return f"not recorded: {ran.tail(3)}"
    found = json.loads(ran.stdout)
    path = Path(found["path"])
    if not found["total"]:
        # Nothing is owed, so nothing needs to be bound to this version of the tool.
        path.unlink()
        return "nothing to record"
    return f"{found['total']} in {path.relative_to(project)}"
