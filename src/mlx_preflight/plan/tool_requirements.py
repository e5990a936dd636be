"""What a project's tests need, where it is declared for one tool alone.

Dependency groups, extras and lists are every installer's and come first. Poetry, uv, PDM, Hatch
and tox keep tables of their own. Standard library only: the noxfile reads it.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_HATCH = ("hatch-test", "default")
"""Environments of Hatch in which tests run, beside those of the usual names (hatch.pypa.io)."""

_PARTS = 3
"""Numbers of a version that Poetry's `^` and `~` count."""


def elsewhere(project: Path, tool: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the requirements of the first tool that declares some for the tests.

    Args:
        project: Root of the project.
        tool: `[tool]` of pyproject.toml.
        names: Names that projects give to what their tests need.
    """
    found = (
        list(_poetry(_at(tool, "poetry"), names)),
        _texts(_at(tool, "uv").get("dev-dependencies")),
        [line for name in names for line in _texts(_at(tool, "pdm", "dev-dependencies").get(name))],
        list(_hatch(_at(tool, "hatch", "envs"), names)),
        list(_tox(project / "tox.ini")),
    )
    return next((lines for lines in found if lines), [])


def _at(table: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _texts(found: Any) -> list[str]:
    return [line for line in found if isinstance(line, str)] if isinstance(found, list) else []


def _hatch(envs: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in (*names, *_HATCH):
        for key in ("dependencies", "extra-dependencies"):
            yield from _texts(_at(envs, name).get(key))


def _tox(path: Path) -> Iterator[str]:
    """Yield the plain requirements of `[testenv]`; what depends on a factor is tox's to choose."""
    config = configparser.RawConfigParser(strict=False)
    try:
        config.read(path, encoding="utf-8")
    except (configparser.Error, ValueError):
        return  # (tox says what is wrong with its own file)
    lines = config.get("testenv", "deps", fallback="").splitlines()
    for line in map(str.strip, lines):
        if re.match(r"[A-Za-z0-9]", line) and "{" not in line and not re.match(r"[^=<>]*: ", line):
            yield line.split(" #")[0].strip()


def _poetry(poetry: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    groups = [_at(poetry, "group", name, "dependencies") for name in names]
    for table in (*groups, _at(poetry, "dev-dependencies")):
        for name, wanted in table.items():
            yield from _poetry_lines(name, wanted)


def _poetry_lines(name: str, wanted: Any) -> Iterator[str]:
    """Yield a dependency of Poetry as requirements; of one from an address only the name counts."""
    if isinstance(wanted, list):
        for one in wanted:
            yield from _poetry_lines(name, one)
        return
    about = wanted if isinstance(wanted, dict) else {"version": wanted}
    extras = ",".join(_texts(about.get("extras")))
    markers = [str(about["markers"])] if "markers" in about else []
    if "python" in about:
        bounds = pep440(str(about["python"])).split(",")
        markers += [re.sub(r"([<>=!~]+)(.+)", r"python_version \1 '\2'", one) for one in bounds]
    text = name + (f"[{extras}]" if extras else "") + pep440(str(about.get("version", "*")))
    yield text + (f" ; {' and '.join(markers)}" if markers else "")


def pep440(wanted: str) -> str:
    """Return a version constraint of Poetry 2 (its docs, "Dependency specification") as PEP 440.

    `^1.2` is `>=1.2,<2`, `~1.2` is `>=1.2,<1.3`, a bare version is exact, `*` is any. An
    alternative (`||`) keeps its widest bounds: its first lower one.
    """
    if "|" in wanted:
        return pep440(wanted.partition("|")[0]).partition(",<")[0]
    parts = re.split(r"[,\s]+(?=[\^~<>=!\d*])", wanted)
    return ",".join(filter(None, map(_bound, parts)))


def _bound(text: str) -> str:
    text = re.sub(r"\s+", "", text)
    if text in {"", "*"}:
        return ""
    if text[0] == "^" or (text[0] == "~" and text[1:2] != "="):
        version = text[1:]
        return f">={version},<{_next(version, caret=text[0] == '^')}"
    return text if text[0] in "<>=!~" else f"=={text}"


def _next(version: str, *, caret: bool) -> str:
    """Return the first version that a bound of Poetry no longer allows."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:_PARTS]]
    if caret:
        raised = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
    else:
        raised = min(1, len(numbers) - 1)
    return ".".join(map(str, [*numbers[:raised], numbers[raised] + 1]))
