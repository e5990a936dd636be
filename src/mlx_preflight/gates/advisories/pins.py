"""Pinned requirements: the versions that a list gives, as pip, uv and pip-tools write one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.judged_environment import normalise
from mlx_preflight.plan import project_requirements

_INCLUDE = re.compile(r"(?:-r|--requirement)[ =]*(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[ =]*(.+)")


def read(
    path: Path, named: str, own: str, markers: Mapping[str, str], seen: tuple[Path, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Yield normalised name and version of each requirement that applies, includes followed.

    The project itself is left out. Another folder of the project's has the version that its
    pyproject.toml states.

    Args:
        path: List of requirements.
        named: How messages name it.
        own: The project's normalised name.
        markers: Values of the environment markers.
        seen: Lists that include this one.

    Raises:
        ResultError: A requirement is not pinned.
        OSError: A list cannot be read.
    """
    if path in seen:
        return
    for wanted in project_requirements.lines_of(path.read_text(encoding="utf-8-sig")):
        if found := _INCLUDE.fullmatch(wanted):
            yield from read(path.parent / found[1], found[1], own, markers, (*seen, path))
        elif place := _folder(path.parent, wanted):
            name, version = stated(place)
            if not version and name != own:
                raise ResultError(f"{named}: {wanted!r} states no version in its pyproject.toml")
            if name != own:
                yield name, version
        elif not wanted.startswith("-"):
            yield from _pinned(path, wanted, named, own, markers)


def _pinned(
    path: Path, wanted: str, named: str, own: str, markers: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    try:
        need = Requirement(wanted)
    except InvalidRequirement as error:
        raise ResultError(f"{named}: {wanted!r} is not a pinned requirement") from error
    name = normalise(need.name)
    if name == own or (need.marker and not need.marker.evaluate(dict(markers))):
        return
    if need.url and need.url.startswith("file:"):
        versions = [stated(_path(path.parent, need.url))[1]]
    else:
        versions = [item.version for item in need.specifier if item.operator in ("==", "===")]
    if len(versions) != 1 or not versions[0] or versions[0].endswith("*"):
        raise ResultError(f"{named}: {wanted!r} has no exact version")
    yield name, versions[0]


def _folder(beside: Path, wanted: str) -> Path | None:
    """Return the folder that a line names; None where it names a package."""
    text = re.split(r"\s+;", wanted)[0]
    if found := _EDITABLE.fullmatch(text):
        return _path(beside, found[1])
    path = _path(beside, text)
    local = text in {".", ".."} or text.startswith("file:") or "/" in text
    return path if local and path.is_dir() else None


def _path(beside: Path, text: str) -> Path:
    return Path(unquote(urlsplit(text).path)) if text.startswith("file:") else beside / text


def stated(folder: Path) -> tuple[str, str]:
    """Return name and version in a folder's pyproject.toml; empty where it states none."""
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error
    table = document.get("project", {})
    return normalise(str(table.get("name", ""))), str(table.get("version", ""))
