"""The decision record of the evaluation: a small table, made from scores and evidence.

Which framework is selected stands here and nowhere else; the prose around it is for people.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.frameworks import evidence, framework, scoring
from mlx_preflight.plan.settings import load_settings

SELECTED, FALLBACK, DATE, STATUS = "selected", "fallback", "date", "status"
DECIDERS, EVIDENCE = "deciders", "evidence"
KEYS = (SELECTED, FALLBACK, DATE, STATUS, DECIDERS, EVIDENCE)
"""Rows of the record, in their order."""

ACCEPTED = "accepted"
"""The one status of a decision that holds; a superseded one is replaced, not kept."""

RUNNER_UP = "axolotl"
"""The framework that the plan falls back to."""


def expected(project: Path) -> dict[str, str]:
    """Return the record that a project's evidence and weights give.

    Raises:
        ResultError: The evidence is missing or incomplete.
    """
    return of(project, evidence.load(project))


def of(project: Path, data: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the record that some evidence gives, row by row.

    Raises:
        ResultError: The evidence is incomplete, or the project names nobody.
    """
    try:
        sums = scoring.totals(scoring.scores(data), load_settings(project).selection.weights)
        date = max(str(item["date"])[:10] for item in data.values())
        winner = str(data[next(iter(sums))]["title"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ResultError(f"the evidence is incomplete: {error!r}", hint=evidence.REFRESH) from None
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    fallback = framework.find(RUNNER_UP).FRAMEWORK.title
    values = (winner, fallback, date, ACCEPTED, _deciders(project), f"sha256:{digest}")
    return dict(zip(KEYS, values, strict=True))


def table(record: Mapping[str, str]) -> str:
    """Return a record as a Markdown table."""
    rows = [f"| {key} | {record[key]} |" for key in KEYS]
    return "\n".join(["| decision record | |", "|---|---|", *rows])


def _deciders(project: Path) -> str:
    document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    table = document.get("project", {})
    people = [*table.get("authors", ()), *table.get("maintainers", ())]
    names = [str(item.get("name") or item.get("email")) for item in people]
    if not names:
        raise ResultError(
            "nobody is named who decided", hint="name the authors in [project] of pyproject.toml"
        )
    return ", ".join(dict.fromkeys(names))
