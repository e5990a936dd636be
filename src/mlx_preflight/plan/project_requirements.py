"""Declared requirements of a project: package, extra, dependency group or list.

Standard library only: the noxfile reads it before anything is installed.
"""

from __future__ import annotations

import configparser
import dataclasses
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.plan import tool_requirements

TESTS = ("tests", "test", "testing", "dev")
"""Names that projects give to what their tests need; the first one found is taken."""

TABLE = "mlx-preflight"
"""Table of the settings below `[tool]`."""

_LISTS = ("requirements-{}.txt", "{}-requirements.txt", "requirements/{}.txt")


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements of a project for one purpose, and where they stand.

    Attributes:
        project: Root of the project.
        table: `[project]` of pyproject.toml; empty where there is none.
        packaged: Whether the project itself can be installed.
        extras: Extras that are wanted.
        groups: Dependency groups that are wanted.
        lists: Files of requirements, relative to the root.
        more: Requirements that stand elsewhere.
    """

    project: Path
    document: dict[str, Any]
    packaged: bool
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    lists: tuple[str, ...]
    more: tuple[str, ...] = ()

    @property
    def table(self) -> dict[str, Any]:
        """Return `[project]`, empty where there is none."""
        return _table(self.document, "project")

    @property
    def arguments(self) -> list[str]:
        """Return what `pip install` and `uv pip install` take, run in the project's root."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        wanted = ["-e", f".{extras}"] if self.packaged else []
        for name in self.groups:
            wanted += ["--group", name]
        for name in self.lists:
            wanted += ["-r", name]
        return [*wanted, *self.more]

    @property
    def texts(self) -> list[str]:
        """Return what the files say in which requirements stand, to see that they changed."""
        names = (
            "pyproject.toml",
            "setup.py",
            "setup.cfg",
            "tox.ini",
            *_read_by_setuptools(self.document),
        )
        files = [self.project / name for name in names]
        found = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
        for name in self.lists:
            found += [line for _, line in _followed(self.project / name, ())]
        return found

    def lines(self) -> Iterator[str]:
        """Yield each requirement that the group and the lists name, includes followed.

        Raises:
            UsageError: A group or a list is not there, or not as it must be.
        """
        for name in self.groups:
            yield from _group(_table(self.document, "dependency-groups"), name, ())
        for name in self.lists:
            yield from _list(self.project / name)
        yield from self.more


def find(project: Path, *, tests: bool) -> Requirements:
    """Return what a project needs at run time and, if wanted, for its tests.

    Raises:
        UsageError: pyproject.toml holds something else where a table must be.
    """
    path = project / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    config = _setup_cfg(project)
    packaged = (
        bool({"project", "build-system"} & set(document))
        or (project / "setup.py").is_file()
        or (path.is_file() and config.has_option("metadata", "name"))
    )
    names = [form.format(name) for name in TESTS for form in _LISTS] if tests else []
    # Of several lists the first: each pins the versions of its own purpose.
    lists = [next((name for name in names if (project / name).is_file()), "")]
    if not packaged and (project / "requirements.txt").is_file():
        lists.append("requirements.txt")
    known = _extras(document, config) if packaged else set()
    extras, groups = _wanted(document, known) if tests else ((), ())
    found = Requirements(project, document, packaged, extras, groups, tuple(filter(None, lists)))
    return dataclasses.replace(found, more=_more(found)) if tests else found


def _wanted(
    document: dict[str, Any], extras: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return extras and groups of the tests: those that the settings name, or the usual ones."""
    groups = _table(document, "dependency-groups")
    named = _named(document, "tests-groups")
    for name in named:
        if name not in {*groups, *extras}:
            near = suggest(str(name), [*groups, *extras])
            raise UsageError(f"tests-groups: {name!r} is no dependency group and no extra{near}")
    if named:
        return tuple(x for x in named if x not in groups), tuple(x for x in named if x in groups)
    usual = [[name for name in TESTS if name in known][:1] for known in (extras, groups)]
    return tuple(usual[0]), tuple(usual[1])


def _more(found: Requirements) -> tuple[str, ...]:
    """Return what the settings add, and what another tool's table says where nothing else does."""
    lines = _named(found.document, "tests-install")
    tests = [name for name in found.lists if name != "requirements.txt"]
    if not (found.extras or found.groups or tests):
        tool = _table(found.document, "tool")
        lines = [*tool_requirements.elsewhere(found.project, tool, TESTS), *lines]
    return tuple(lines)


def _named(document: dict[str, Any], key: str) -> list[str]:
    """Return a list of the project's table; an installer's options and paths are none of its."""
    found = _table(_table(document, "tool"), TABLE).get(key, [])
    if not isinstance(found, list):
        raise UsageError(f"{key}: expected a list of names, found {found!r}")
    for text in found:
        if not isinstance(text, str) or not re.match("[A-Za-z0-9]", text):
            raise UsageError(f"{key}: expected a list of names, found {text!r}")
    return found


def _group(groups: dict[str, Any], name: str, seen: tuple[str, ...]) -> Iterator[str]:
    known = {_normal(key): value for key, value in groups.items()}
    lines = known.get(_normal(name))
    if not isinstance(lines, list) or _normal(name) in seen:
        raise UsageError(f"pyproject.toml: dependency-groups: {name}: expected a list")
    for line in lines:
        if isinstance(line, str):
            yield line
        elif isinstance(line, dict) and isinstance(line.get("include-group"), str):
            yield from _group(groups, line["include-group"], (*seen, _normal(name)))
        else:
            raise UsageError(f"pyproject.toml: dependency-groups: {name}: {line!r}")


def _setup_cfg(project: Path) -> configparser.RawConfigParser:
    config = configparser.RawConfigParser(strict=False)
    path = project / "setup.cfg"
    try:
        config.read(path, encoding="utf-8")
    except (configparser.Error, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    return config


def _extras(document: dict[str, Any], config: configparser.RawConfigParser) -> set[str]:
    """Return the names of the extras, wherever a build backend reads them."""
    tool = _table(document, "tool")
    dynamic = _table(_table(tool, "setuptools"), "dynamic")
    found = set(_table(_table(document, "project"), "optional-dependencies"))
    found |= set(_table(dynamic, "optional-dependencies"))
    found |= set(_table(_table(tool, "poetry"), "extras"))
    section = "options.extras_require"
    return found | set(config.options(section) if config.has_section(section) else ())


def _read_by_setuptools(document: dict[str, Any]) -> Iterator[str]:
    """Yield the files that setuptools reads requirements from."""
    dynamic = _table(_table(_table(document, "tool"), "setuptools"), "dynamic")
    extras = _table(dynamic, "optional-dependencies")
    for table in (dynamic.get("dependencies"), *extras.values()):
        names = table.get("file", []) if isinstance(table, dict) else []
        yield from [names] if isinstance(names, str) else names


def _list(path: Path) -> Iterator[str]:
    """Yield the requirements of a list; options, paths and addresses are the installer's."""
    for asks, line in _followed(path, ()):
        if asks and not line.startswith("-"):
            yield line


def _followed(path: Path, seen: tuple[Path, ...]) -> Iterator[tuple[bool, str]]:
    """Yield each line of a list and of those that it names, and whether it asks for something.

    Constraints only bound what others ask for.
    """
    if path in seen:
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    for line in lines_of(text):
        found = re.match(r"(-r|--requirement|-c|--constraint)[ =]*(.+)", line)
        if found is None or "://" in found[2]:
            yield True, line
            continue
        inner = _followed(path.parent / found[2], (*seen, path))
        yield from ((asks and found[1] in {"-r", "--requirement"}, item) for asks, item in inner)


def lines_of(text: str) -> Iterator[str]:
    """Yield the entries of a requirements file, without comments and options of one line."""
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.split(r"(?:^|\s)#", raw)[0].split(" --")[0].strip()
        if line:
            yield line


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of pyproject.toml, empty where there is none."""
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"pyproject.toml: {name}: expected a table, found {found!r}")
    return found
