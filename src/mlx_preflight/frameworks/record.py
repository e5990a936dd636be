"""Measurement of one framework, kept in `.preflight/compare/NAME.json`, schema 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import Status
from mlx_preflight.core.workspace import Workspace

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class FrameworkRecord:
    """One framework's measurement.

    Attributes:
        status: PASS or ERROR.
        reason: For an ERROR the phase and the cause.
        inputs: Digest of what it depends on; another one makes it stale.
        date: UTC time, ISO 8601.
        machine: Where it ran.
        figures: What was found until it ended.
        duration_s: Wall time of all phases.
        log: For an ERROR the last lines that the framework printed.
    """

    framework: str
    status: Status
    reason: str
    inputs: str
    date: str
    machine: Mapping[str, Any]
    figures: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    log: tuple[str, ...] = ()
    schema: int = SCHEMA


def path(state: Path, name: str) -> Path:
    """Return the path of a framework's record."""
    return Workspace(state).comparison(name)


def write(state: Path, record: FrameworkRecord) -> None:
    """Write a record, atomically.

    Raises:
        ResultError: The folder cannot be written.
    """
    write_json(path(state, record.framework), dataclasses.asdict(record))


def read(state: Path, name: str) -> FrameworkRecord | None:
    """Return a framework's record; None when it was never measured.

    Raises:
        ResultError: It is damaged, or of another schema or framework.
    """
    file = path(state, name)
    if not file.exists():
        return None
    data = read_json(file)
    known = {item.name for item in dataclasses.fields(FrameworkRecord)}
    if not isinstance(data, dict) or set(data) != known or data["schema"] != SCHEMA:
        raise ResultError(f"{file}: no measurement of schema {SCHEMA}", hint="delete it")
    if data["framework"] != name or data["status"] not in {Status.PASS, Status.ERROR}:
        raise ResultError(f"{file}: not a measurement of {name}", hint="delete it")
    log = tuple(str(line) for line in data["log"])
    return FrameworkRecord(**{**data, "status": Status(data["status"]), "log": log})
