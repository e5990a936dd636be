"""Report document, report.json: the verdict, every row, every session's full result."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlx_preflight import __version__
from mlx_preflight.core.errors import NothingRanError, ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import SessionResult, Status
from mlx_preflight.plan import register
from mlx_preflight.run.manifest import Manifest
from mlx_preflight.run.verdict import Row, Verdict

SCHEMA = 1

MAX_BYTES = 64_000_000
"""A report over this size is refused unread; it holds every result file once."""

_KEYS: dict[str, type] = {
    **dict.fromkeys(("verdict", "status", "holds_for", "run_id", "group", "started"), str),
    **dict.fromkeys(("generated", "tool", "profile"), str),
    **dict.fromkeys(("counts", "sessions", "model", "environment", "git"), dict),
    **dict.fromkeys(("rows", "findings", "stale", "planned"), list),
    "exit_code": int,
}

PASSED, FAILED = ("ready_for_integrator", "partial"), ("needs_adapt",)
"""What a verdict may be where everything required passed, and where not."""

_ROW_KEYS = frozenset(
    ["id", "title", "status", "evidence", "reason", "remedy", "measurements", "session", "required"]
)


def build(
    judged: Verdict, results: Mapping[str, SessionResult | ResultError], run: Manifest
) -> dict[str, Any]:
    """Return the report as a JSON document."""
    readable = {name: item for name, item in results.items() if isinstance(item, SessionResult)}
    mine = {
        name: readable[name]
        for name in run.planned
        if name in readable and readable[name].run_id == run.run_id
    }
    return {
        "schema": SCHEMA,
        "tool": f"mlx-preflight {__version__}",
        "generated": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "run_id": run.run_id,
        "group": run.group,
        "started": run.started,
        "profile": run.profile,
        "planned": [
            {"id": name, "title": register.find_session(name)[0].title} for name in run.planned
        ],
        "model": _model(mine.values(), run),
        "verdict": judged.state,
        "status": judged.status.value,
        "exit_code": judged.exit_code,
        "holds_for": judged.holds_for,
        "counts": judged.counts,
        "rows": [_row(row) for row in judged.rows],
        "findings": [_row(row) for row in judged.findings],
        "sessions": {name: item.to_json() for name, item in mine.items()},
        "stale": sorted(name for name, item in readable.items() if item.run_id != run.run_id),
        "environment": _environment(mine.values()),
        "git": _git(mine.values(), run),
    }


def read(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        NothingRanError: There is none.
        ResultError: It is damaged or of another schema.
    """
    if not path.is_file():
        raise NothingRanError(f"{path}: no report yet", hint="run `nox`, or `nox -s summary`")
    document = read_json(path, limit_bytes=MAX_BYTES)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ResultError(f"{path}: not a report of schema {SCHEMA}", hint="run `nox -s summary`")
    for key, kind in _KEYS.items():
        if not isinstance(document.get(key), kind):
            raise ResultError(f"{path}: {key} is missing or damaged", hint="run `nox -s summary`")
    for row in (*document["rows"], *document["findings"]):
        if not isinstance(row, dict) or set(row) != _ROW_KEYS or row["status"] not in list(Status):
            raise ResultError(f"{path}: a row is damaged", hint="run `nox -s summary`")
    if problem := _contradiction(document):
        raise ResultError(f"{path}: {problem}", hint="run `nox -s summary`")
    return document


def _contradiction(document: Mapping[str, Any]) -> str:
    """Return where a report says better of a run than its rows do, or an empty text."""
    worst = Status.worst([Status(row["status"]) for row in document["rows"] if row["required"]])
    passed = worst is Status.PASS
    if document["status"] != worst.value:
        return f"status {document['status']!r} contradicts its rows, which are {worst.value}"
    if (document["exit_code"] == 0) is not passed:
        return f"exit code {document['exit_code']} contradicts status {worst.value}"
    if document["verdict"] not in (PASSED if passed else FAILED):
        return f"verdict {document['verdict']!r} contradicts status {worst.value}"
    return ""


def _row(row: Row) -> dict[str, Any]:
    check = dataclasses.asdict(row.check)
    # Once is enough: the places are in the session's own result, below `sessions`.
    del check["diagnostics"]
    return {**check, "session": row.session, "required": row.required}


def _model(mine: Iterable[SessionResult], run: Manifest) -> dict[str, Any]:
    """Return the fullest description of the run's model that a session recorded."""
    described = [dict(item.model) for item in mine if item.model.get("requested") == run.model]
    return max(described, key=len, default={"requested": run.model})


def _environment(mine: Iterable[SessionResult]) -> dict[str, Any]:
    """Return the machine, with the packages of all sessions: each has a venv of its own."""
    packages: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for item in mine:
        # What each session judged is its own, and stays in its result below `sessions`.
        merged |= {key: value for key, value in item.environment.items() if key != "judged"}
        found = item.environment.get("packages")
        for name, version in found.items() if isinstance(found, Mapping) else ():
            seen = packages.get(name, "").split(" / ") if name in packages else []
            packages[name] = " / ".join(dict.fromkeys([*seen, str(version)]))
    return {**merged, "packages": packages} if merged else {}


def _git(mine: Iterable[SessionResult], run: Manifest) -> dict[str, Any]:
    """Return the commit, dirty when any session found it so."""
    known = [dict(item.git) for item in mine if item.git.get("commit")]
    if not known:
        return dict(run.git)
    return next((item for item in known if item.get("dirty") is not False), known[0])
