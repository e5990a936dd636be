"""Resolve what a project needs at run time: from a venv's metadata, a folder, or a lock."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlx_preflight.errors import ResultError

Needs = Callable[[str, str], Iterable[tuple[str, str]]]
"""Package and extra → packages and extras that it needs."""


@dataclass(frozen=True, slots=True)
class Closure:
    """Hold what runs with a project, itself left out.

    Attributes:
        source: Where it was read from, in words.
        versions: Package → version.
        parents: Package → what pulled it in first; a package without one is needed directly.
        project: The project's own name, left out of `versions`; empty when it has none.
    """

    source: str
    versions: dict[str, str]
    parents: dict[str, str]
    project: str = ""

    def path(self, name: str) -> str:
        """Return the way from the project to a package, such as `flask > jinja2`."""
        names = [name]
        while (parent := self.parents.get(names[-1])) and parent not in names:
            names.append(parent)
        return " > ".join(reversed(names))


def project_name(project: Path) -> str:
    """Return `[project] name` of a project.

    Raises:
        ResultError: pyproject.toml has none.
    """
    name = _name(project)
    if not name:
        raise ResultError(
            f"{project}: pyproject.toml names no project, and none is installed from here",
            hint="name what to audit: audit-environment in [tool.mlx-preflight]",
        )
    return name


def environment(project: Path, named: str | None = None) -> Closure:
    """Return the runtime environment of a project.

    Args:
        project: Root of the project.
        named: Site-packages folder, `uv.lock`, `pylock.toml` or pinned requirements, relative
            to the project; None takes what the project needs in this venv.

    Raises:
        ResultError: It does not exist, cannot be read, or is not resolved to versions.
    """
    if named is None:
        return resolve(project_name(project))
    path, own = project / named, _name(project)
    if path.is_dir():
        return _folder(path, own, named)
    try:
        if path.suffix == ".toml" or path.name == "uv.lock":
            return _lock(tomllib.loads(path.read_text(encoding="utf-8")), own, named)
        return _pins(path.read_text(encoding="utf-8"), own, named)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            f"audit-environment {named}: {error!r}",
            hint="name a site-packages folder, uv.lock, pylock.toml or pinned requirements",
        ) from error


def resolve(name: str) -> Closure:
    """Return everything that a distribution needs in this venv, itself left out.

    Extras that a requirement asks for are followed; markers are evaluated for this machine.

    Raises:
        ResultError: The distribution, or something that it needs, is not installed.
    """
    found = _by_name(importlib.metadata.distributions(), "this venv", first=True)
    return _walked(found, [name], name, f"what {name} needs in this venv")


def _folder(path: Path, own: str, named: str) -> Closure:
    """Read a site-packages folder: all that is in it runs with the project."""
    found = _by_name(importlib.metadata.distributions(path=[str(path)]), named)
    if not found:
        raise ResultError(f"audit-environment {named}: no installed distribution in it")
    needed = {need for item in found for need, _ in _installed(found)(item, "")}
    roots = [own] if own in found else sorted(set(found) - needed) or sorted(found)
    walked = _walked(found, roots, own, f"all of {named}")
    rest = {name: item.version for name, item in found.items() if name != own}
    return Closure(walked.source, rest, walked.parents, own if own in found else "")


def _by_name(
    found: Iterable[importlib.metadata.Distribution], where: str, *, first: bool = False
) -> dict[str, importlib.metadata.Distribution]:
    """Index distributions by name; in a path of several folders the first one is imported."""
    known: dict[str, importlib.metadata.Distribution] = {}
    for item in found:
        name, version = item.metadata["Name"], item.metadata["Version"]
        if not name or not version:
            if first:
                continue
            raise ResultError(f"{where}: a distribution without name or version")
        name = canonicalize_name(name)
        if name not in known:
            known[name] = item
        elif not first and known[name].version != version:
            raise ResultError(f"{where}: {name} is there as {known[name].version} and {version}")
    return known


def _installed(found: Mapping[str, importlib.metadata.Distribution]) -> Needs:
    def needs(name: str, extra: str) -> Iterable[tuple[str, str]]:
        for line in found[name].requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                target = canonicalize_name(need.name)
                yield from ((target, asked) for asked in need.extras)
                yield target, ""

    return needs


def _walked(
    found: Mapping[str, importlib.metadata.Distribution], roots: list[str], own: str, source: str
) -> Closure:
    parents = _walk(roots, _installed(found), found, own)
    versions = {name: found[name].version for name in [*roots, *parents] if name != own}
    return Closure(source, versions, _without(parents, own), own)


def _walk(roots: list[str], needs: Needs, known: Iterable[str], own: str) -> dict[str, str]:
    """Return what was reached from the roots, each with what pulled it in first."""
    parents: dict[str, str] = {}
    names = set(known)
    waiting = deque((root, "") for root in roots)
    seen: set[tuple[str, str]] = set()
    while waiting:
        item = waiting.popleft()
        if item in seen:
            continue
        seen.add(item)
        if item[0] not in names:
            raise ResultError(
                f"{item[0]} is not installed, so it cannot be audited",
                hint="`pip install -e .`, and all that it needs",
            )
        for need in needs(*item):
            if need[0] not in roots:
                parents.setdefault(need[0], item[0])
            waiting.append(need)
    parents.pop(own, None)
    return parents


def _without(parents: dict[str, str], own: str) -> dict[str, str]:
    return {name: parent for name, parent in parents.items() if parent != own}


def _lock(document: dict[str, Any], own: str, named: str) -> Closure:
    """Read uv.lock (`package`) or pylock.toml (`packages`): every version that may run."""
    entries: list[dict[str, Any]] = document.get("packages") or document.get("package") or []
    known: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name = canonicalize_name(entry["name"])
        if not _applies(entry.get("marker")):
            continue
        if name in known and known[name].get("version") != entry.get("version"):
            raise ResultError(
                f"{named}: {name} is locked in two versions",
                hint="name the site-packages folder of the installed one",
            )
        known[name] = entry

    def needs(name: str, extra: str) -> Iterable[tuple[str, str]]:
        entry = known[name]
        lines = entry.get("optional-dependencies", {}).get(extra, []) if extra else []
        for need in [*entry.get("dependencies", []), *lines]:
            target = canonicalize_name(need["name"])
            if target in known:
                yield from ((target, asked) for asked in need.get("extra", []))
                yield target, ""

    # uv.lock holds groups and extras, too; what the project itself reaches is what runs.
    resolved = own in known and "package" in document
    every = set(known) - {own}
    needed = {target for name in every for target, _ in needs(name, "")}
    roots = [own] if resolved else sorted(every - needed) or sorted(every)
    parents = _walk(roots, needs, known, own)
    names = set(parents) if resolved else every
    versions = {name: str(known[name].get("version", "")) for name in sorted(names)}
    if missing := sorted(name for name, version in versions.items() if not version):
        raise ResultError(f"{named}: no version of {', '.join(missing)}, so no audit of it")
    return Closure(named, versions, _without(parents, own), own if own in known else "")


def _applies(marker: object) -> bool:
    """Evaluate a lock's marker; one that this reader does not understand applies."""
    if not isinstance(marker, str):
        return True
    try:
        return Marker(marker).evaluate()
    except (InvalidMarker, UndefinedEnvironmentName, KeyError):
        return True


def _pins(text: str, own: str, named: str) -> Closure:
    versions: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        wanted = line.split(" #")[0].split(" --hash")[0].strip()
        if not wanted or wanted.startswith("#"):
            continue
        try:
            need = Requirement(wanted)
        except InvalidRequirement as error:
            raise ResultError(f"{named}: {wanted!r} is not a pinned requirement") from error
        pins = [item.version for item in need.specifier if item.operator in ("==", "===")]
        if len(pins) != 1 or pins[0].endswith("*"):
            raise ResultError(f"{named}: {wanted!r} has no exact version")
        if need.marker is None or need.marker.evaluate():
            versions[canonicalize_name(need.name)] = pins[0]
    versions.pop(own, None)
    return Closure(named, versions, {})


def _name(project: Path) -> str:
    """Return a project's name: what pyproject.toml says, or what is installed from here."""
    path = project / "pyproject.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    name = table.get("project", {}).get("name")
    if isinstance(name, str):
        return canonicalize_name(name)
    # setup.py says its name only when it runs; an installation keeps where it came from.
    address = project.resolve().as_uri()
    for item in importlib.metadata.distributions():
        try:
            origin = json.loads(item.read_text("direct_url.json") or "{}")
        except ValueError:
            continue
        if isinstance(origin, dict) and str(origin.get("url", "")).rstrip("/") == address:
            return canonicalize_name(item.metadata["Name"])
    return ""
