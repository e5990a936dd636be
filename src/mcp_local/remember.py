"""Remember the run whose report lies in a project's state folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mcp_local.memory_manager import FOLDER, MemoryManager
from mlx_preflight import project_table
from mlx_preflight.criteria import sign_off
from mlx_preflight.json_file import read_json


def remember(state: Path) -> str:
    """Record the report of a project's state folder; return a line that says what happened.

    Raises:
        ResultError: The report or the memory cannot be used.
    """
    report = read_json(state / "report.json", limit_bytes=64_000_000)
    manager = MemoryManager(state / FOLDER)
    new = manager.record(report, _settings_of(state.parent), sign_off.read(state))
    return f"run {report['run_id']} {'remembered' if new else 'was remembered already'}"


def _settings_of(project: Path) -> dict[str, Any]:
    """Return the settings of a project that differ from the defaults."""
    if not (project / "pyproject.toml").is_file():
        return {}
    found, default = project_table.load_settings(project), project_table.Settings()
    return {
        item.name: getattr(found, item.name)
        for item in dataclasses.fields(found)
        if getattr(found, item.name) != getattr(default, item.name)
    }
