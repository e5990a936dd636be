"""Plan of a run on disk, so that what is missing afterwards can be named.

Standard library only: the noxfile writes it before anything is installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.workspace import Workspace

SCHEMA = 1

_HINT = "delete it and run `nox` again"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Plan of one run, as in `.preflight/run.json`.

    Attributes:
        group: Group session that started it, such as `gates`.
        planned: Session ids in the plan's order.
        run_id: Id that its results carry.
        profile: Profile of the run, such as `embedded`.
        schema: Version of this form.
        started: UTC time, ISO 8601.
        model: Model as the user named it.
        git: Commit of the project and whether the work tree differed; empty when unknown.
    """

    run_id: str
    group: str
    planned: tuple[str, ...]
    started: str
    profile: str
    model: str
    git: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


def write(state: Path, manifest: Manifest) -> None:
    """Write the manifest into a project's `.preflight` folder, atomically.

    Raises:
        ResultError: The folder cannot be written.
    """
    write_json(Workspace(state).manifest, dataclasses.asdict(manifest))


def read(state: Path) -> Manifest | None:
    """Read the last run's manifest; None when no run was started yet.

    Raises:
        ResultError: The file is there and cannot be used.
    """
    path = Workspace(state).manifest
    if not path.exists():
        return None
    document = read_json(path)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ResultError(f"{path}: not a run manifest of schema {SCHEMA}", hint=_HINT)
    names = {item.name for item in dataclasses.fields(Manifest)}
    if odd := sorted(set(document) ^ names):
        raise ResultError(f"{path}: unknown or missing key {odd[0]!r}", hint=_HINT)
    for name in ("run_id", "group", "started", "profile", "model"):
        if not isinstance(document[name], str) or not document[name]:
            raise ResultError(f"{path}: {name} is not text, or empty", hint=_HINT)
    planned = document["planned"]
    if not isinstance(planned, list) or not all(isinstance(item, str) for item in planned):
        raise ResultError(f"{path}: planned is not a list of session ids", hint=_HINT)
    if not isinstance(document["git"], dict):
        raise ResultError(f"{path}: git is not an object", hint=_HINT)
    return Manifest(**{**document, "planned": tuple(planned)})
