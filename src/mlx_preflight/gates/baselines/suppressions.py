"""Counts of suppressions: what ruff and mypy may not report escapes a baseline."""

from __future__ import annotations

import configparser
import io
import os
import re
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

LINT, TYPES = "lint", "types"

_COMMENTS = {
    LINT: re.compile(
        r"#\s*(?:noqa\b|flake8[:=]\s*noqa|ruff\s*:\s*(?:noqa|(?:file-)?ignore)\b)", re.IGNORECASE
    ),
    TYPES: re.compile(r"#\s*(?:type:\s*ignore\b|mypy:\s*\S)"),
}
"""Comments that silence ruff 0.17 (docs, "Error suppression") and mypy 2.4 ("inline config")."""

_NOT_SOURCE = frozenset({"build", "dist", "node_modules", "__pycache__"})


def count(kind: str, project: Path, files: Iterable[Path]) -> dict[str, int]:
    """Return how often each kind of suppression occurs.

    Args:
        kind: `LINT` or `TYPES`.
        project: Root, whose pyproject.toml may silence files.
        files: Python files that the tool examined.
    """
    found: Counter[str] = Counter()
    for path in files:
        pattern = _COMMENTS[kind]
        found["comments"] += sum(len(pattern.findall(text)) for text in _comments(path, pattern))
    found["configured"] = sum(1 for _ in _configured(kind, project))
    return dict(found)


def python_files(project: Path) -> list[Path]:
    """Return a project's Python files, without hidden folders, builds and venvs."""
    found: list[Path] = []
    for folder, folders, names in os.walk(project):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _NOT_SOURCE
            and not (here / name / "pyvenv.cfg").exists()
        )
        found += [here / name for name in sorted(names) if name.endswith((".py", ".pyi"))]
    return found


def folders(project: Path) -> list[Path]:
    """Return the folders below a project that hold Python files."""
    return sorted({path.parent for path in python_files(project)} - {project})


def _comments(path: Path, wanted: re.Pattern[str]) -> Iterator[str]:
    """Yield the comments of a file; one that cannot be read is the tool's to report."""
    try:
        content = path.read_bytes()
        # Tokens are slow, and most files have nothing that looks like a suppression.
        if not wanted.search(content.decode("utf-8", errors="replace")):
            return
        # Bytes, so that a coding line counts; a suppression inside a string is none.
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    except (OSError, tokenize.TokenError, SyntaxError, ValueError):
        return


def ignores_all(project: Path) -> bool:
    """Return whether mypy's own table ignores every error, so that it could not find one."""
    return any(
        name == "mypy" and table.get("ignore_errors") for name, table in mypy_tables(project)
    )


def _configured(kind: str, project: Path) -> Iterator[str]:
    """Yield the entries of a project's tables that silence a tool for complete files."""
    if kind == TYPES:
        for _, table in mypy_tables(project):
            yield from _mypy(table)
        return
    for name in ("pyproject.toml", "ruff.toml", ".ruff.toml"):
        document = _document(project / name)
        tool = document.get("tool", {}) if name == "pyproject.toml" else {"ruff": document}
        yield from _ruff(tool.get("ruff", {}))


def _document(path: Path) -> dict[str, Any]:
    """Return a TOML file's content; empty where the tool could not read it either."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def mypy_tables(project: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of every table that configures mypy; `mypy` is the main one."""
    yield "mypy", _document(project / "pyproject.toml").get("tool", {}).get("mypy", {})
    for name in ("mypy.ini", ".mypy.ini", "setup.cfg"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(project / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in parser.sections():
            if section.startswith("mypy"):
                yield section, _typed(parser[section])


def _typed(section: Mapping[str, str]) -> dict[str, Any]:
    """Return an INI section with the values that TOML would have."""
    table: dict[str, Any] = dict(section)
    for key in ("ignore_errors", "ignore_missing_imports"):
        table[key] = str(table.get(key)).lower() in ("true", "1", "yes", "on")
    codes = str(table.get("disable_error_code", ""))
    return {**table, "disable_error_code": codes.replace(",", " ").split()}


def _ruff(table: dict[str, Any]) -> Iterator[str]:
    for part in (table, table.get("lint", {})):
        for key in ("per-file-ignores", "extend-per-file-ignores"):
            for pattern, codes in part.get(key, {}).items():
                yield from (f"{pattern}: {code}" for code in codes)
        for key in ("ignore", "extend-ignore"):
            yield from part.get(key, [])


def _mypy(table: dict[str, Any]) -> Iterator[str]:
    for part in (table, *table.get("overrides", [])):
        for key in ("ignore_errors", "ignore_missing_imports"):
            if part.get(key) is True:
                yield key
        if part.get("follow_imports") in ("skip", "silent"):
            yield "follow_imports"
        disabled = part.get("disable_error_code", [])
        yield from [disabled] if isinstance(disabled, str) else disabled
