"""Comparison of an environment with the one that a project declares.

A later installation can replace what a project pins, and a venv can be older than
pyproject.toml; either would be judged in the project's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.judged_environment import Environment, Package, normalise
from mlx_preflight.core.text import join_findings
from mlx_preflight.plan import project_requirements
from mlx_preflight.plan.project_requirements import Requirements

REINSTALL = (
    "install the project and what its tests need with its own pins: nox does so in a venv of its "
    "own; by hand, `pip install -e '.[tests]'` or what the project calls it"
)


def require_met(project: Path, environment: Environment, *, tests: bool) -> None:
    """Refuse an environment that is not the one that a project declares.

    Raises:
        ResultError: A declared requirement is not met; the first ones are named.
        UsageError: The project does not say in a usable way what it needs.
    """
    wrong = differences(project, environment, tests=tests)
    if wrong:
        raise ResultError(
            f"{environment.prefix} is not the project's environment: {join_findings(wrong)}",
            hint=REINSTALL,
        )


def differences(project: Path, environment: Environment, *, tests: bool) -> list[str]:
    """Return each declared requirement that an environment does not meet, in words.

    Args:
        project: Root of the project; without pyproject.toml it declares only its lists.
        environment: Where the project is judged.
        tests: Whether what its tests need must be there, too.

    Raises:
        UsageError: The project does not say in a usable way what it needs.
    """
    wanted = project_requirements.find(project, tests=tests)
    sources = uv_sources(wanted.document)
    found = []
    for need in applicable(wanted, environment):
        package = environment.packages.get(normalise(need.name))
        if package is None:
            found.append(f"{need} is declared, {need.name} is not installed")
        elif package.origin and sources.get(normalise(need.name)):
            continue  # uv took it from its source, whatever version that has
        elif not _meets(package, need):
            found.append(f"{need} is declared, {package.name} {package.version} is installed")
    return list(dict.fromkeys(found))


def applicable(wanted: Requirements, environment: Environment) -> Iterator[Requirement]:
    """Yield each requirement that applies in an environment, overrides of uv in force."""
    overrides = _overrides(wanted)
    for need in _needs(wanted, environment):
        replaced = overrides.get(normalise(need.name), need)
        marker = None if replaced is need else replaced.marker
        if marker is None or marker.evaluate(_markers(environment)):
            yield replaced


def own_name(wanted: Requirements, environment: Environment) -> str:
    """Return the project's normalised name: as declared, or as installed from its folder."""
    name = wanted.table.get("name")
    if isinstance(name, str):
        return normalise(name)
    # setup.py says its name only when it runs; an installation keeps where it came from.
    address = wanted.project.resolve().as_uri()
    for key, package in environment.packages.items():
        if package.origin.rstrip("/") == address:
            return key
    return ""


def uv_sources(document: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return name → whether uv takes it from an address; None where that depends on a marker."""
    table: Any = document.get("tool", {})
    for key in ("uv", "sources"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    found: dict[str, bool | None] = {}
    for name, source in table.items() if isinstance(table, dict) else ():
        places = source if isinstance(source, list) else [source]
        by_index = ["index" in place for place in places]
        depends = any({"marker", "extra", "group"} & set(place) for place in places)
        found[normalise(name)] = False if all(by_index) else None if depends else True
    return found


def _meets(package: Package, need: Requirement) -> bool:
    # Of an address only the presence can be told.
    return bool(need.url) or need.specifier.contains(package.version, prereleases=True)


def _needs(wanted: Requirements, environment: Environment) -> Iterator[Requirement]:
    name = own_name(wanted, environment)
    for line in wanted.lines():
        try:
            need = Requirement(line)
        except InvalidRequirement:
            continue  # a path or an address without a name is the installer's matter
        if need.marker is None or need.marker.evaluate(_markers(environment)):
            yield need
    if wanted.packaged:
        yield from _own(wanted, environment, name, list(wanted.extras), set())


def _own(
    wanted: Requirements,
    environment: Environment,
    name: str,
    extras: list[str],
    seen: set[str],
) -> Iterator[Requirement]:
    """Yield the project's own requirements; an extra may ask for another one of its own."""
    known = _stated(wanted, environment.packages.get(name))
    for extra in ["", *extras]:
        if extra in seen:
            continue
        seen.add(extra)
        for line in known.get(normalise(extra), []):
            try:
                need = Requirement(line)
            except InvalidRequirement as error:
                raise UsageError(f"pyproject.toml: {line!r} is no requirement") from error
            if need.marker and not need.marker.evaluate(_markers(environment, extra)):
                continue
            if normalise(need.name) == name:
                yield from _own(wanted, environment, name, sorted(need.extras), seen)
            else:
                yield need


def _stated(wanted: Requirements, package: Package | None) -> Mapping[str, list[str]]:
    """Return extra → requirements; the empty extra is what always runs.

    pyproject.toml counts before the installed metadata, which may be older.
    """
    table = wanted.table
    dynamic = table.get("dynamic", [])
    extras = table.get("optional-dependencies", {})
    stated = {normalise(key): list(lines) for key, lines in extras.items()}
    if "dependencies" in table or (table and "dependencies" not in dynamic):
        stated[""] = list(table.get("dependencies", []))
    elif package is not None:
        # Markers on `extra` sort the lines of the metadata.
        stated[""] = [line for line in package.requires if "extra ==" not in line]
    if package is not None:
        # Only the build backend reads an extra of setup.cfg, poetry or a dynamic table.
        lines = [line for line in package.requires if "extra ==" in line]
        for extra in wanted.extras:
            stated.setdefault(normalise(extra), lines)
    return stated


def _overrides(wanted: Requirements) -> dict[str, Requirement]:
    """Return what uv installs in place of every requirement of a name."""
    table: Any = wanted.document.get("tool", {})
    for key in ("uv", "override-dependencies"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    lines = table if isinstance(table, list) else []
    return {normalise(need.name): need for need in (Requirement(str(line)) for line in lines)}


def _markers(environment: Environment, extra: str = "") -> dict[str, str]:
    return {**environment.markers, "extra": extra}
