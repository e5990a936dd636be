"""Recording of the run whose report is in a project's state folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import sign_off
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.plan import settings


def remember(state: Path) -> str:
    """Record the report of a project's state folder; return a line that says what happened.

    Raises:
        ResultError: The report or the history cannot be used.
    """
    report = read_json(Workspace(state).report, limit_bytes=64_000_000)
    manager = MemoryManager(Workspace(state).history)
    new = manager.record(report, _settings_of(state.parent), sign_off.read(state))
    return f"run {report['run_id']} {'recorded' if new else 'was recorded already'}"


def _settings_of(project: Path) -> dict[str, Any]:
    """Return the settings of a project that differ from the defaults."""
    if not (project / "pyproject.toml").is_file():
        return {}
    found, default = settings.load_settings(project), settings.ProjectSettings()
    return {
        item.name: getattr(found, item.name)
        for item in dataclasses.fields(found)
        if getattr(found, item.name) != getattr(default, item.name)
    }
