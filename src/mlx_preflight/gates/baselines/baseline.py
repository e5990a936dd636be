"""Recorded baselines: accepted findings, one file per kind, under version control.

A baseline belongs to a tool version, the tool's configuration and the Python that the tool
checks for; under others its findings mean something else. Ruff reads that Python from its
configuration alone, mypy takes the running one where it is told none. Only `mlx-preflight
baseline record` writes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.json_file import read_json, write_text
from mlx_preflight.gates.baselines import suppressions
from mlx_preflight.gates.baselines.fingerprint import Fingerprint

SCHEMA = 1

T = TypeVar("T")

_CONFIGS = {
    "lint": ("ruff.toml", ".ruff.toml"),
    "types": ("mypy.ini", ".mypy.ini", "setup.cfg"),
}
"""Files beside pyproject.toml that configure ruff 0.17 and mypy 2.4."""

_TABLES = {"lint": "ruff", "types": "mypy"}


@dataclass(frozen=True, slots=True)
class Binding:
    """Tool, Python and configuration that a baseline is valid for.

    Attributes:
        python: Version that the tool checks for, `3.11`; empty where its configuration says all.
        config: SHA-256 of the tool's configuration in the project.
    """

    tool: str
    version: str
    python: str
    config: str

    def difference(self, other: Binding) -> str:
        """Return what differs in words, or an empty text."""
        for what, mine, theirs in (
            ("tool", f"{self.tool} {self.version}", f"{other.tool} {other.version}"),
            ("Python", self.python, other.python),
            ("configuration", self.config[:12], other.config[:12]),
        ):
            if mine != theirs and theirs:
                return f"{what} {mine} then, {theirs} now"
        return ""


@dataclass(frozen=True, slots=True)
class Growth:
    """Reason for which a baseline was allowed to grow."""

    date: str
    reason: str
    added: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Accepted findings and suppressions.

    Attributes:
        fingerprints: Accepted findings with their counts.
        suppressions: Accepted number of each kind of suppression.
        growth: Every time it grew, oldest first.
    """

    binding: Binding
    fingerprints: Counter[Fingerprint]
    suppressions: Mapping[str, int]
    growth: tuple[Growth, ...] = field(default=())

    @property
    def total(self) -> int:
        """Return the number of accepted findings."""
        return self.fingerprints.total()


def locate(project: Path, folder: str, kind: str) -> Path:
    """Return where a project keeps a baseline."""
    return project / folder / f"{kind}.json"


def binding(kind: str, project: Path, tool: str, version: str, python: str) -> Binding:
    """Return what a baseline that is recorded now is valid for.

    Raises:
        ResultError: A configuration file cannot be read.
    """
    digest = hashlib.sha256()
    for name, content in _configuration(kind, project):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Binding(tool, version, _python(kind, project) or python, digest.hexdigest())


def read(path: Path) -> Baseline | None:
    """Return a recorded baseline, or None when there is none.

    Raises:
        ResultError: The file is there and cannot be used.
    """
    return read_document(path, _parsed) if path.exists() else None


def read_document(path: Path, parse: Callable[[Any], T]) -> T:
    """Read and parse a recorded file.

    Raises:
        ResultError: It cannot be read, or the parser refuses it.
    """
    document = read_json(path)
    try:
        return parse(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path}: damaged or of another schema: {error!r}",
            hint="restore it from git, or delete it and record it again",
        ) from error


def _parsed(document: dict[str, Any]) -> Baseline:
    """Build a baseline from a document; whatever is wrong with it raises."""
    if document.pop("schema") != SCHEMA:
        raise ValueError(f"schema is not {SCHEMA}")
    entries, silenced = document.pop("entries"), document.pop("suppressions")
    growth = tuple(Growth(**item) for item in document.pop("growth"))
    recorded: Counter[Fingerprint] = Counter()
    for entry in entries:
        number = entry.pop("n")
        fingerprint = Fingerprint(**entry)
        if (
            not (type(number) is int and number > 0 and _texts(fingerprint))
            or fingerprint in recorded
        ):
            raise ValueError(f"entry {entry!r}")
        recorded[fingerprint] = number
    found = Baseline(Binding(**document), recorded, silenced, growth)
    counts = [*silenced.values(), *(item.added for item in growth)]
    if not _texts(found.binding) or not all(type(item) is int for item in counts):
        raise ValueError("a field has the wrong type")
    return found


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline sorted, one entry a line, so that git can merge two of them.

    Raises:
        UsageError: This runs in CI, where nobody reads what is accepted.
        ResultError: The file cannot be written.
    """
    refuse_in_ci()
    head = {
        "schema": SCHEMA,
        **dataclasses.asdict(baseline.binding),
        "suppressions": dict(sorted(baseline.suppressions.items())),
        "growth": [dataclasses.asdict(item) for item in baseline.growth],
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    entries = [
        f"  {json.dumps({**dataclasses.asdict(fingerprint), 'n': number})}"
        for fingerprint, number in sorted(baseline.fingerprints.items())
    ]
    body = "\n" + ",\n".join(entries) + "\n " if entries else ""
    write_text(path, "\n".join(["{", *lines, f' "entries": [{body}]', "}"]) + "\n")


def refuse_in_ci() -> None:
    """Raise where nobody would read what is accepted.

    Raises:
        UsageError: The environment says `CI`.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise UsageError("a baseline is never written in CI", hint="record it locally, commit it")


def _texts(item: Any) -> bool:
    return all(isinstance(value, str) for value in dataclasses.asdict(item).values())


def _configuration(kind: str, project: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of everything in a project that configures a tool."""
    document = _pyproject(project)
    table = document.get("tool", {}).get(_TABLES.get(kind, ""), {})
    yield "pyproject.toml", json.dumps(table, sort_keys=True, default=str).encode()
    yield "requires-python", str(document.get("project", {}).get("requires-python")).encode()
    # Ruff also obeys the nearest file above each source, and one that a table extends.
    folders = [project, *suppressions.folders(project)] if kind == "lint" else [project]
    paths = [folder / name for folder in folders for name in _CONFIGS.get(kind, ())]
    if isinstance(table.get("extend"), str):
        paths.append(project / table["extend"])
    try:
        for path in sorted({path for path in paths if path.is_file()}):
            yield os.path.relpath(path, project), path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror or error}") from error


def _python(kind: str, project: Path) -> str:
    """Return the Python version that a tool is told to check for, if it is told."""
    if kind == "lint":
        return str(_pyproject(project).get("tool", {}).get("ruff", {}).get("target-version", ""))
    told = (table.get("python_version") for _, table in suppressions.mypy_tables(project))
    return next((str(version) for version in told if version), "")


def _pyproject(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
