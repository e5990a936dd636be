"""T001_framework_evaluation.md: written sections around figures from evidence.

`docs/training/evaluation/written.md` holds the prose. `{{ name }}` in it stands for a figure
or a table made from the evidence, so a measured number is never typed. Any other number in
the prose must be in `evidence/cited.json`, beside its source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_text
from mlx_preflight.documents import decision, evaluation_figures
from mlx_preflight.documents.training_documents import FOLDER, first_difference
from mlx_preflight.frameworks import evidence
from mlx_preflight.plan.settings import load_settings

NAME = "T001_framework_evaluation.md"
WRITTEN = FOLDER / "evaluation" / "written.md"
CITED = evidence.FOLDER / "cited.json"

_PLACE = re.compile(r"\{\{ *([a-z0-9_.-]+) *\}\}")
_REFERENCE = re.compile(r"\[\d+(?:, \d+)*\]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
ANYWHERE = ("term", "policy", "measured", "derived")
"""Sources whose numbers may be in any line; others only in a line that names them."""

_ITEM = re.compile(r"^\s*\d+\. ", re.MULTILINE)


def record(project: Path, state: Path) -> None:
    """Keep the finished comparison as evidence and render document and plots from it.

    Raises:
        BlockedError: The comparison is not complete; nothing is rewritten.
        ResultError: A file cannot be read or written.
    """
    data = evidence.gather(state)
    files = _render(project, data)
    evidence.keep(project, data)
    _write(project, files)


def render(project: Path) -> None:
    """Write document and plots from the evidence that is there.

    Raises:
        ResultError: A file cannot be read or written.
    """
    _write(project, expected(project))


def _write(project: Path, files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        write_text(project / path, text)


def expected(project: Path) -> dict[Path, str]:
    """Return path → text of the document and its plots.

    Raises:
        ResultError: Evidence or prose is missing or incomplete, or the prose names a figure
            that there is not.
    """
    return _render(project, evidence.load(project))


def _render(project: Path, data: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    weights = load_settings(project).selection.weights
    try:
        values = evaluation_figures.values(data, weights)
        values["decision"] = decision.table(decision.of(project, data))
        plots = evaluation_figures.plots(data)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ResultError(f"the evidence is incomplete: {error!r}", hint=evidence.REFRESH) from None
    files = {FOLDER / name: text for name, text in plots.items()}
    return {FOLDER / NAME: _fill(_prose(project), values), **files}


def disagreement(project: Path) -> str:
    """Return how document or plots differ from the evidence; empty when they do not.

    Raises:
        ResultError: As `expected`.
    """
    for path, wanted in expected(project).items():
        try:
            found = (project / path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"{path}: {error}"
        if found != wanted:
            difference = first_difference(path, found.splitlines(), wanted.splitlines())
            return difference or f"{path}: its line ends differ from the evidence's"
    return ""


def uncited(project: Path) -> tuple[str, ...]:
    """Return the numbers of the prose that no cited source of their line holds.

    Raises:
        ResultError: The prose or the citations cannot be read.
    """
    facts = _facts(project)
    text, _, _ = _prose(project).partition("\n## Sources\n")
    missing = []
    for line in text.splitlines():
        named = {*_NUMBER.findall(" ".join(_REFERENCE.findall(line))), *ANYWHERE}
        held = {number for source in named for number in facts.get(source, ())}
        plain = _REFERENCE.sub("", _PLACE.sub("", _ITEM.sub("", line)))
        missing += [number for number in _NUMBER.findall(plain) if number not in held]
    return tuple(dict.fromkeys(missing))


def _facts(project: Path) -> dict[str, set[str]]:
    found = read_json(project / CITED) if (project / CITED).is_file() else None
    if not isinstance(found, dict) or not isinstance(found.get("facts"), list):
        raise ResultError(f"{CITED}: no list of cited facts")
    held: dict[str, set[str]] = {}
    for fact in found["facts"]:
        if not isinstance(fact, dict) or not all(fact.get(k) for k in ("source", "says", "date")):
            raise ResultError(f"{CITED}: a fact without source or date: {str(fact)[:80]}")
        numbers = _NUMBER.findall(f"{fact['says']} {fact['date']}")
        held.setdefault(str(fact["source"]), set()).update(numbers)
    return held


def _prose(project: Path) -> str:
    try:
        return (project / WRITTEN).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{WRITTEN}: unreadable: {error}") from error


def _fill(text: str, values: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ResultError(f"{WRITTEN}: the evidence has no figure {match[1]!r}")
        return str(values[match[1]])

    return _PLACE.sub(value, text)
