"""Dependency versions that a guide states, compared with those of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from mlx_preflight.criteria.markdown.document import Section

FRAMEWORK = ("mlx-lm", "mlx", "transformers", "huggingface-hub")
"""Packages that a guide to the framework must list, beside every declared dependency."""

_BOUND = r"[<>=!~]=?=?\s*[\w.*]+"
_LINE = re.compile(rf"^([A-Za-z0-9][\w.-]*)(?:\[[\w, -]*\])?\s*((?:{_BOUND})(?:\s*,\s*{_BOUND})*)?")


@dataclass(frozen=True, slots=True)
class ProjectRequirements:
    """Dependencies and Python versions of pyproject.toml."""

    requirements: tuple[Requirement, ...]
    python: SpecifierSet


def read(root: Path) -> ProjectRequirements | str:
    """Return a project's dependencies and Python versions, or why they are not known."""
    path = root / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return ProjectRequirements(
            tuple(Requirement(line) for line in table["dependencies"]),
            SpecifierSet(table["requires-python"]),
        )
    except (OSError, KeyError, TypeError, ValueError, InvalidRequirement) as error:
        return f"pyproject.toml: no readable dependencies and requires-python: {error!r}"


def problems(section: Section, project: ProjectRequirements) -> list[str]:
    """Return what a section's tables and lists state wrongly, or leave out."""
    stated = _stated(section)
    wrong = [text for name, spec in stated if (text := _disagreement(name, spec, project))]
    listed = {name for name, spec in stated if spec}
    declared = (canonicalize_name(requirement.name) for requirement in project.requirements)
    wanted = dict.fromkeys([*FRAMEWORK, *declared])
    return wrong + [f"{name} is not listed" for name in wanted if name not in listed]


def count(section: Section) -> int:
    """Return the number of packages that a section states versions of."""
    return len({name for name, spec in _stated(section) if spec})


def _stated(section: Section) -> list[tuple[str, str]]:
    """Return each package that a table row or a list item starts with, and its versions."""
    matches = (
        _LINE.match(line)
        for part in section.walk()
        for line in (
            *(" ".join(row) for table in part.tables for row in table.rows),
            *(item for listing in part.lists for item in listing.items),
        )
    )
    return [(canonicalize_name(match[1]), match[2] or "") for match in matches if match]


def _disagreement(name: str, spec: str, project: ProjectRequirements) -> str:
    declared = [r.specifier for r in project.requirements if canonicalize_name(r.name) == name]
    if not declared:
        return f"{name} {spec} is no dependency in pyproject.toml" if spec else ""
    if not spec:
        return f"{name} is listed without versions"
    try:
        given = SpecifierSet(spec.replace(" ", ""))
    except InvalidSpecifier:
        return f"{name}: {spec!r} is no version range"
    if given not in declared:
        return f"{name} {spec} disagrees with pyproject.toml's {declared[0]}"
    return ""
