"""Comparison of a lock, pins or a folder with what the project declares today.

An older lock names other packages than the project asks for, so an audit of it would prove
nothing. uv.lock keeps the requirements that it was made from; of the others, each direct
requirement must be there in a version that meets it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from mlx_preflight.core.child import run_child
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.judged_environment import Environment, normalise
from mlx_preflight.core.text import join_findings, one_line
from mlx_preflight.plan import project_requirements
from mlx_preflight.run import project_environment

_TIMEOUT_S = 120.0

_NAMED = 5

_REMEDY = {
    "uv.lock": "run `uv lock`",
    "pylock.toml": "run `uv export --format pylock.toml -o pylock.toml`, or `pip lock .`",
}
"""File → command that makes it again; pins have several, and any other file is the user's."""

_PINS = "make it again, such as by `uv pip compile pyproject.toml -o {}`"

_Needs = set[tuple[str, SpecifierSet | None]]
"""Name and versions of each requirement; no versions where it comes from a source of its own."""


def require_fresh(
    project: Path, judged: Environment, named: str, versions: Mapping[str, str]
) -> None:
    """Refuse what lacks a direct requirement of the project, or has it in another version.

    Args:
        project: Root of the project.
        judged: Where markers are evaluated.
        named: What was read, as the project's table names it.
        versions: Normalised name → version.

    Raises:
        ResultError: It is not what the project declares.
    """
    wanted = project_requirements.find(project, tests=False)
    sources = project_environment.uv_sources(wanted.document)
    wrong = []
    for need in project_environment.applicable(wanted, judged):
        version = versions.get(normalise(need.name))
        if version is None:
            wrong.append(f"{need} is declared, {need.name} is not in it")
        elif need.url or sources.get(normalise(need.name)):
            continue  # it has whatever version its address gives
        elif not need.specifier.contains(version, prereleases=True):
            wrong.append(f"{need} is declared, {version} is in it")
    _refuse(named, wrong)


def require_same(project: Path, path: Path, document: Mapping[str, Any], own: str) -> None:
    """Refuse a uv.lock that was made from other requirements than today's.

    Raises:
        ResultError: It was, or that cannot be told.
    """
    if path.name != "uv.lock":
        return
    wanted = project_requirements.find(project, tests=False)
    entries = [item for item in document.get("package", []) if normalise(item["name"]) == own]
    if not own or "dependencies" in wanted.table.get("dynamic", []) or not wanted.table:
        _ask_uv(project, path, own)
        return
    if not entries:
        _refuse(path.name, [f"it has no entry of {own}, so it was made from another project"])
    above = project_requirements.find(path.parent, tests=False).document
    sources = project_environment.uv_sources(above) | project_environment.uv_sources(
        wanted.document
    )
    then = set(_locked(entries[0], sources))
    now = set(_declared(wanted.table, sources))
    _refuse(
        path.name,
        [
            *(f"{name}{spec or ''} is declared, not locked" for name, spec in _sorted(now - then)),
            *(f"{name}{spec or ''} was declared then" for name, spec in _sorted(then - now)),
            *_constraints(path, document, above),
        ],
    )


def _constraints(path: Path, lock: Mapping[str, Any], above: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is in force for every version, and was not when the lock was made; or was then."""
    table = above.get("tool", {}).get("uv", {})
    entries = lock.get("manifest", {}).get("constraints", [])
    needs = [Requirement(line) for line in table.get("constraint-dependencies", [])]
    now = {(normalise(need.name), need.specifier) for need in needs if not need.url}
    then = {
        (normalise(item["name"]), SpecifierSet(item["specifier"]))
        for item in entries
        if "specifier" in item
    }
    for name, spec in sorted(now ^ then, key=str):
        yield f"the constraint {name}{spec} is not in {path.name} and pyproject.toml alike"


def _declared(
    table: Mapping[str, Any], sources: Mapping[str, bool | None]
) -> Iterator[tuple[str, Any]]:
    extras = table.get("optional-dependencies", {})
    own = normalise(str(table.get("name", "")))
    for line in [*table.get("dependencies", []), *(x for lines in extras.values() for x in lines)]:
        try:
            need = Requirement(line)
        except InvalidRequirement as error:
            raise ResultError(f"pyproject.toml: {line!r} is no requirement") from error
        name = normalise(need.name)
        if name != own:
            elsewhere = need.url or sources.get(name, False) is not False
            yield _with(name, need.extras), None if elsewhere else need.specifier


def _locked(
    entry: Mapping[str, Any], sources: Mapping[str, bool | None]
) -> Iterator[tuple[str, Any]]:
    own = normalise(entry["name"])
    for item in entry.get("metadata", {}).get("requires-dist", []):
        name = normalise(item["name"])
        address = {"url", "git", "path", "directory", "editable", "virtual"} & set(item)
        if name != own:
            spec = SpecifierSet(item.get("specifier", ""))
            elsewhere = address or sources.get(name, False) is None
            yield _with(name, item.get("extras", [])), None if elsewhere else spec


def _with(name: str, extras: Iterable[str]) -> str:
    """Return a name with the extras that are asked for: they bring packages of their own."""
    asked = ",".join(sorted({normalise(extra) for extra in extras}))
    return f"{name}[{asked}]" if asked else name


def _sorted(needs: _Needs) -> list[tuple[str, SpecifierSet | None]]:
    return sorted(needs, key=lambda need: (need[0], str(need[1])))


def _ask_uv(project: Path, path: Path, own: str) -> None:
    """Ask uv, where only a build says what the project needs."""
    # The harness has a uv of its own, which need not be on PATH.
    found = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if found is None:
        raise ResultError(
            f"audit-environment {path.name}: what the project needs is not in pyproject.toml, and "
            "uv is not here to compare it",
            hint="`pip install uv`",
        )
    # uv keeps what an earlier build said, and sees no file change that setuptools reads.
    anew = ["--refresh-package", own] if own else ["--refresh"]
    command = [found, "lock", "--check", *anew, "--project", str(path.parent)]
    done = run_child(command, cwd=project, timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        raise ResultError(
            f"audit-environment {path.name}: `uv lock --check` exited {done.returncode}: "
            f"{one_line(done.tail(8))}",
            hint=_REMEDY["uv.lock"],
        )


def _refuse(named: str, wrong: list[str]) -> None:
    if not wrong:
        return
    raise ResultError(
        f"audit-environment {named} is not what the project declares today: "
        f"{join_findings(wrong, _NAMED)}",
        hint=_REMEDY.get(Path(named).name, _PINS.format(named)),
    )
