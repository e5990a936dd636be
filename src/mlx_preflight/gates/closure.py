"""Resolve what a project needs at run time, from the metadata of this venv."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections import deque
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlx_preflight.errors import ResultError


def project_name(project: Path) -> str:
    """Return `[project] name` of a project.

    Raises:
        ResultError: pyproject.toml has none.
    """
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    name = table.get("project", {}).get("name")
    if not isinstance(name, str):
        raise ResultError(f"{project / 'pyproject.toml'}: no [project] name")
    return canonicalize_name(name)


def resolve(name: str) -> dict[str, str]:
    """Return name → version of everything a distribution needs here, itself left out.

    Extras that a requirement asks for are followed; markers are evaluated for this machine.

    Raises:
        ResultError: The distribution, or something that it needs, is not installed.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = deque([(canonicalize_name(name), "")])
    while waiting:
        item = waiting.popleft()
        if item in seen:
            continue
        seen.add(item)
        try:
            found = importlib.metadata.distribution(item[0])
        except importlib.metadata.PackageNotFoundError as error:
            raise ResultError(
                f"{item[0]} is not installed in this venv, so it cannot be audited",
                hint="`pip install -e .`",
            ) from error
        versions[item[0]] = found.version
        for line in found.requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": item[1]}):
                waiting.extend((canonicalize_name(need.name), extra) for extra in need.extras)
                waiting.append((canonicalize_name(need.name), ""))
    versions.pop(canonicalize_name(name))
    return versions
