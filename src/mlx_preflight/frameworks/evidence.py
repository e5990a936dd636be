"""Finished measurements kept as dated evidence, and when evidence no longer counts.

`docs/training/evidence/framework-NAME.json` holds one framework. Nothing is written unless
every framework was measured, so no document rests on a part of the comparison.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from mlx_preflight.core.errors import BlockedError, ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import Status
from mlx_preflight.frameworks import framework, measure, record
from mlx_preflight.frameworks.record import FrameworkRecord

SCHEMA = 1
FOLDER = Path("docs", "training", "evidence")
REFRESH = "nox -s compare -- --again && mlx-preflight evaluation"
"""Command that makes new evidence."""

_MACHINE = ("processor", "cpu_count", "memory_bytes", "system", "machine")
"""Fields that are equal in two measurements of the same machine."""


def path(project: Path, name: str) -> Path:
    """Return the path of the evidence on a framework."""
    return project / FOLDER / f"framework-{name}.json"


def gather(state: Path) -> dict[str, dict[str, Any]]:
    """Return framework → evidence from the finished measurements, all of them or none.

    Raises:
        BlockedError: A framework was not measured, ended in an ERROR, or was measured with
            other inputs than today's, in other versions, or on another machine.
    """
    found = {}
    for name in framework.names():
        item = record.read(state, name)
        if item is None:
            raise BlockedError(f"{name} was not measured", hint="nox -s compare")
        if item.status is not Status.PASS:
            raise BlockedError(f"{name} ended in {item.status}: {item.reason}", hint=_one(name))
        plugin = framework.find(name)
        if item.inputs != measure.digest(plugin, measure.BenchOptions(Path(), Path())):
            raise BlockedError(f"{name} was measured with other inputs", hint=_one(name))
        try:
            found[name] = _evidence(item)
            installed = item.figures["install"]["install_s"] is not None
        except (KeyError, TypeError, AttributeError) as error:
            raise BlockedError(f"{name}: incomplete: {error!r}", hint=_one(name)) from error
        if not installed:
            reason = f"{name} was measured in a venv that the comparison did not install"
            raise BlockedError(reason, hint=_one(name))
        if reason := other_version(found[name]):
            raise BlockedError(reason, hint=_one(name))
    if reason := other_machine(found):
        raise BlockedError(reason, hint=REFRESH)
    return found


def keep(project: Path, found: Mapping[str, dict[str, Any]]) -> None:
    """Write evidence, one file per framework.

    Raises:
        ResultError: A file cannot be written.
    """
    for name, data in found.items():
        write_json(path(project, name), data)


def load(project: Path) -> dict[str, dict[str, Any]]:
    """Return framework → evidence, the reference first.

    Raises:
        ResultError: One is missing, damaged or of another schema.
    """
    loaded = {}
    for name in framework.names():
        file = path(project, name)
        if not file.is_file():
            raise ResultError(f"{file.relative_to(project)}: no evidence", hint=REFRESH)
        data = read_json(file)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ResultError(f"{file.relative_to(project)}: not of schema {SCHEMA}", hint=REFRESH)
        if data.get("framework") != name:
            raise ResultError(f"{file.relative_to(project)}: not about {name}", hint=REFRESH)
        loaded[name] = data
    return loaded


def stale(data: dict[str, Any], today: dt.date, max_age_days: int) -> str:
    """Return why evidence no longer counts: age, checkpoint, rows, or versions not asked for.

    Raises:
        ResultError: It has no date or no versions.
    """
    name = data["framework"]
    try:
        taken = dt.date.fromisoformat(str(data["date"])[:10])
    except (KeyError, ValueError) as error:
        raise ResultError(f"evidence on {name}: incomplete: {error!r}", hint=REFRESH) from error
    age = (today - taken).days
    if age > max_age_days:
        return f"the evidence on {name} is {age} days old, at most {max_age_days} count"
    if age < -1:
        return f"the evidence on {name} is of {taken}, which is in the future"
    if data.get("materials") != measure.materials():
        return f"the evidence on {name} is of another checkpoint or other rows than today's"
    return other_version(data)


def other_version(data: Mapping[str, Any]) -> str:
    """Return which package of evidence is not the one that is asked for; empty when none is.

    Raises:
        ResultError: It has no versions.
    """
    name = data["framework"]
    try:
        packages = dict(data["install"]["packages"])
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(f"evidence on {name}: incomplete: {error!r}", hint=REFRESH) from error
    for line in framework.find(name).FRAMEWORK.requirements:
        for text in line:
            wanted = Requirement(text)
            version = packages.get(wanted.name.lower())
            if version is None and wanted.marker and not wanted.marker.evaluate():
                continue
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                return f"the evidence on {name} is of {wanted.name} {version}, asked for is {text}"
    return ""


def other_machine(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which evidence is of another machine than the first; empty when none is.

    Raises:
        ResultError: Evidence does not say of which machine it is.
    """
    first = ""
    for name, data in found.items():
        try:
            machine = data["machine"]
            here = ", ".join(f"{key} {machine[key]}" for key in _MACHINE)
        except (KeyError, TypeError) as error:
            raise ResultError(f"evidence on {name}: incomplete: {error!r}", hint=REFRESH) from error
        first = first or here
        if here != first:
            return f"the evidence on {name} is of another machine ({here}) than the rest ({first})"
    return ""


def _one(name: str) -> str:
    return f'nox -s "compare({name})" -- --again'


def _evidence(item: FrameworkRecord) -> dict[str, Any]:
    """Return a record as evidence, without what only identifies the machine."""
    known = framework.find(item.framework).FRAMEWORK
    machine = {key: value for key, value in item.machine.items() if key != "release"}
    return {
        "schema": SCHEMA,
        "framework": item.framework,
        "title": known.title,
        "date": item.date,
        "machine": machine,
        "duration_s": item.duration_s,
        "materials": measure.materials(),
        "apple": asdict(known.apple),
        "apple_qlora": asdict(known.apple_qlora),
        **item.figures,
    }
