"""Runtime dependencies of a project: from a venv's metadata, a folder, or a lock."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.judged_environment import Environment, Package, normalise
from mlx_preflight.gates.advisories import locks, pins
from mlx_preflight.plan import project_requirements
from mlx_preflight.run import project_environment

Needs = Callable[[str, str], Iterable[tuple[str, str]]]
"""Package and extra → packages and extras that it needs."""


_SEEDS = frozenset({"pip", "setuptools", "wheel"})
"""Packages that a venv may begin with; they count where something needs them."""


@dataclass(frozen=True, slots=True)
class Closure:
    """Packages that run with a project, itself left out.

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


def project_name(project: Path, judged: Environment) -> str:
    """Return the name of a project: as declared, or as installed from its folder.

    Raises:
        ResultError: It has none.
    """
    name = _name(project, judged)
    if not name:
        raise ResultError(
            f"{project}: pyproject.toml names no project, and none is installed from here",
            hint="name what to audit: audit-environment in [tool.mlx-preflight]",
        )
    return name


def audited_packages(project: Path, judged: Environment, named: str | None = None) -> Closure:
    """Return the runtime environment of a project.

    Args:
        project: Root of the project.
        judged: Where it is installed; of a lock, the machine whose markers count.
        named: Site-packages folder, `uv.lock`, `pylock.toml` or pinned requirements, relative
            to the project; None takes what the project needs in `judged`.

    Raises:
        ResultError: It does not exist, cannot be read, is not resolved to versions, or is not
            what the project declares today.
    """
    if named is None and _is_list(project):
        return _everything(judged)
    if named is None:
        return resolve(project_name(project, judged), judged)
    path, own = project / named, _name(project, judged)
    if path.is_dir():
        found = _folder(path, own, named, judged)
        locks.require_fresh(project, judged, named, found.versions)
        return found
    try:
        if path.suffix == ".toml" or path.name == "uv.lock":
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            found = _lock(path, document, own, judged)
            locks.require_same(project, path, document, own)
        else:
            found = Closure(named, dict(pins.read(path, named, own, judged.markers)), {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            f"audit-environment {named}: {type(error).__name__}: {error}",
            hint="name a site-packages folder, uv.lock, pylock.toml or pinned requirements",
        ) from error
    locks.require_fresh(project, judged, named, found.versions)
    return found


def resolve(name: str, judged: Environment) -> Closure:
    """Return everything that a distribution needs in an environment, itself left out.

    Extras that a requirement asks for are followed; markers are evaluated there.

    Raises:
        ResultError: The distribution, or something that it needs, is not installed.
    """
    source = f"what {name} needs in {judged.prefix}"
    return _walked(judged.packages, judged.markers, [name], name, source)


def _is_list(project: Path) -> bool:
    """Return whether a project is no package, and lists what its scripts need."""
    wanted = project_requirements.find(project, tests=False)
    return bool(wanted.lists) and not wanted.packaged


def _everything(judged: Environment) -> Closure:
    """Return all that is installed: the lists may name folders, whose needs run as well."""
    found = {name: item for name, item in judged.packages.items() if name not in _SEEDS}
    needs = _installed(found, judged.markers)
    needed = {need for name in found for need, _ in needs(name, "")}
    kept = found | {name: judged.packages[name] for name in _SEEDS & needed & set(judged.packages)}
    roots = sorted(set(kept) - needed) or sorted(kept)
    walked = _walked(kept, judged.markers, roots, "", f"all of {judged.prefix}")
    versions = {name: item.version for name, item in kept.items()}
    return Closure(walked.source, versions, walked.parents)


def _folder(path: Path, own: str, named: str, judged: Environment) -> Closure:
    """Read a site-packages folder: all that is in it runs with the project."""
    found = _by_name(importlib.metadata.distributions(path=[str(path)]), named)
    if not found:
        raise ResultError(f"audit-environment {named}: no installed distribution in it")
    needs = _installed(found, judged.markers)
    needed = {need for item in found for need, _ in needs(item, "")}
    roots = [own] if own in found else sorted(set(found) - needed) or sorted(found)
    walked = _walked(found, judged.markers, roots, own, f"all of {named}")
    rest = {name: item.version for name, item in found.items() if name != own}
    return Closure(walked.source, rest, walked.parents, own if own in found else "")


def _by_name(found: Iterable[importlib.metadata.Distribution], where: str) -> dict[str, Package]:
    """Index the distributions of one folder by name; two of one name are refused."""
    known: dict[str, Package] = {}
    for item in found:
        name, version = item.metadata["Name"], item.metadata["Version"]
        if not name or not version:
            raise ResultError(f"{where}: a distribution without name or version")
        name = normalise(name)
        if name not in known:
            known[name] = Package(name, version, tuple(item.requires or ()), "")
        elif known[name].version != version:
            raise ResultError(f"{where}: {name} is there as {known[name].version} and {version}")
    return known


def _installed(found: Mapping[str, Package], markers: Mapping[str, str]) -> Needs:
    def needs(name: str, extra: str) -> Iterable[tuple[str, str]]:
        for line in found[name].requires:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({**markers, "extra": extra}):
                target = canonicalize_name(need.name)
                yield from ((target, asked) for asked in need.extras)
                yield target, ""

    return needs


def _walked(
    found: Mapping[str, Package],
    markers: Mapping[str, str],
    roots: list[str],
    own: str,
    source: str,
) -> Closure:
    parents = _walk(roots, _installed(found, markers), found, own)
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


def _lock(path: Path, document: dict[str, Any], own: str, judged: Environment) -> Closure:
    """Read uv.lock (`package`) or pylock.toml (`packages`): every version that may run."""
    named = path.name
    entries: list[dict[str, Any]] = document.get("packages") or document.get("package") or []
    known: dict[str, dict[str, Any]] = {}
    for name, found in _of_each_name(entries).items():
        here = [item for item in found if _applies(item.get("marker"), judged.markers)]
        if len({item.get("version") for item in here}) > 1:
            # uv resolves each part of a fork apart, such as Python 3.11 and later ones.
            here = [item for item in here if _forked_for(item, judged.markers)]
        if len({item.get("version") for item in here}) > 1:
            raise ResultError(
                f"{named}: {name} is locked in two versions",
                hint="name the site-packages folder of the installed one",
            )
        if here:
            known[name] = here[-1]

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
    versions = {name: _version(path.parent, known[name]) for name in sorted(names)}
    if missing := sorted(name for name, version in versions.items() if not version):
        raise ResultError(f"{named}: no version of {', '.join(missing)}, so no audit of it")
    return Closure(named, versions, _without(parents, own), own if own in known else "")


def _of_each_name(entries: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(canonicalize_name(entry["name"]), []).append(entry)
    return found


def _version(folder: Path, entry: Mapping[str, Any]) -> str:
    """Return the locked version, or the one that a folder of the project's states itself."""
    version = str(entry.get("version", ""))
    source = entry.get("directory") or entry.get("source") or {}
    places = [source.get(key) for key in ("path", "directory", "editable", "virtual")]
    place = next((item for item in places if isinstance(item, str)), None)
    return pins.stated(folder / place)[1] if place and not version else version


def _forked_for(entry: Mapping[str, Any], markers: Mapping[str, str]) -> bool:
    forks = entry.get("resolution-markers", [])
    return not forks or any(_applies(marker, markers) for marker in forks)


def _applies(marker: object, markers: Mapping[str, str]) -> bool:
    """Evaluate a lock's marker; one that this reader does not understand applies."""
    if not isinstance(marker, str):
        return True
    try:
        return Marker(marker).evaluate(dict(markers))
    except (InvalidMarker, UndefinedEnvironmentName, KeyError):
        return True


def _name(project: Path, judged: Environment) -> str:
    return project_environment.own_name(project_requirements.find(project, tests=False), judged)
