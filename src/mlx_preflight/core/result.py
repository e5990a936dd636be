"""Results of a session: statuses, evidence, measurements, and their files.

This module must import nothing beyond the standard library, because the noxfile
uses it before anything is installed. It must not decide a verdict (see `verdict`).
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from mlx_preflight.core.diagnostic import KEPT, Diagnostic
from mlx_preflight.core.errors import ExitCode, ResultError
from mlx_preflight.core.json_file import read_json, write_json

SCHEMA = 1


class Status(enum.StrEnum):
    """End of a check. There is no "skipped", and a status has no truth value."""

    PASS = "PASS"  # noqa: S105  (not a password)
    FAIL = "FAIL"
    ERROR = "ERROR"
    BLOCKED = "BLOCKED"

    def __bool__(self) -> NoReturn:
        """Refuse truth testing: an ERROR is not false and a BLOCKED is not true."""
        raise TypeError("a Status has no truth value: compare with Status.PASS")

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command whose answer is this status."""
        passed_or_failed = {Status.PASS: ExitCode.PASSED, Status.FAIL: ExitCode.FAILED}
        return passed_or_failed.get(self, ExitCode.NOT_JUDGED)

    @classmethod
    def worst(cls, statuses: list[Status]) -> Status:
        """Return the status of a group; an empty group is ERROR, never PASS."""
        for status in (cls.FAIL, cls.ERROR, cls.BLOCKED):
            if status in statuses:
                return status
        return cls.PASS if statuses else cls.ERROR


class Evidence(enum.StrEnum):
    """Evidence level: how a result was obtained."""

    STATIC = "static"
    SIMULATED = "simulated"
    SYNTHETIC = "synthetic"
    EMBEDDED = "embedded"
    TARGET = "target"


UNITS = frozenset(
    [
        *("s", "days", "steps", "bytes", "GB", "count", "ratio", "percent"),
        *("tokens", "tokens/s", "it/s", "nats", "sha256", "text"),
    ]
)
"""Every unit a measurement may carry; the reader refuses others."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured or counted value.

    Attributes:
        name: Snake case with the unit as suffix, such as `load_s`.
        value: Finite number or text.
        unit: One of `UNITS`.
        limit: Requirement such as `">= 85"`, or None when nothing is required.
        samples: Raw values that `value` was derived from, in the same unit.
    """

    name: str
    value: float | int | str
    unit: str
    limit: str | None = None
    samples: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse unknown units and numbers that JSON cannot hold."""
        if self.unit not in UNITS:
            raise ResultError(f"measurement {self.name}: unknown unit {self.unit!r}")
        for number in (self.value, *self.samples):
            if isinstance(number, float) and not math.isfinite(number):
                raise ResultError(f"measurement {self.name}: {number!r} is not a finite number")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answer of a check function; the register adds id, title and remedy.

    Attributes:
        status: How it ended.
        reason: One sentence with the values seen; never empty.
        evidence: How it knows; None takes the session's own.
        measurements: Values behind the reason.
        remedy: What to do; empty takes the register's text.
        diagnostics: Places that a tool named; the result keeps the first `KEPT`.
    """

    status: Status
    reason: str
    evidence: Evidence | None = None
    measurements: tuple[Measurement, ...] = ()
    remedy: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Recorded outcome of one check.

    Attributes:
        id: Id in the plan, such as `GATE1` or `AC6.7`.
        title: What is claimed, in words.
        status: How it ended.
        evidence: How the status was obtained.
        reason: One sentence with the values seen; never empty.
        remedy: What to do; empty where there is nothing to do.
        measurements: Values behind the reason.
        diagnostics: Places that a tool named.
    """

    id: str
    title: str
    status: Status
    evidence: Evidence
    reason: str
    remedy: str = ""
    measurements: tuple[Measurement, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a check without a reason: a bare PASS proves nothing to a reader."""
        if not self.reason.strip():
            raise ResultError(f"check {self.id}: the reason is empty")


@dataclass(frozen=True, slots=True)
class SessionResult:
    """Result of one session, as written to `.preflight/results/<id>.json`.

    Attributes:
        started: UTC time, ISO 8601.
        id: Id of the session, such as `ac6-memory`.
        title: What the session answers, in words.
        checks: Its answers, in the plan's order.
        run_id: The run that it belongs to.
        profile: Profile of the run, such as `embedded`.
        schema: Version of this form.
        duration_s: Wall time of the checks, installation not included.
        model: Model as given and as resolved, with its digest, or empty.
        environment: Machine, operating system and versions.
        git: Commit and whether the work tree differs from it.
    """

    id: str
    title: str
    checks: tuple[CheckResult, ...]
    run_id: str
    started: str
    duration_s: float
    profile: str
    model: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    git: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def status(self) -> Status:
        """Return the worst status of the checks; a session without checks is ERROR."""
        return Status.worst([check.status for check in self.checks])

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-serialisable document."""
        return {**dataclasses.asdict(self), "status": self.status}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Build a result from a document.

        Raises:
            ResultError: The schema version, a key, a status or a unit is unknown,
                or the stored status contradicts the checks.
        """
        document = _mapping(data, "result")
        if document.get("schema") is True or document.get("schema") != SCHEMA:
            raise ResultError(f"result schema {document.get('schema')!r}, expected {SCHEMA}")
        stored = document.pop("status", None)
        checks = document.pop("checks", None)
        if not isinstance(checks, list):
            raise ResultError("result: checks is not a list")
        result = cls(checks=tuple(_check(item) for item in checks), **_known(cls, document))
        if stored != result.status.value:
            raise ResultError(f"{result.id}: status {stored!r} contradicts its checks")
        return result


def write_result(folder: Path, result: SessionResult) -> Path:
    """Write a session's result file and return its path."""
    path = folder / f"{result.id}.json"
    write_json(path, result.to_json())
    return path


def remove_result(folder: Path, session_id: str) -> None:
    """Remove a session's result file, if there is one.

    Raises:
        ResultError: It cannot be removed.
    """
    path = folder / f"{session_id}.json"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(
            f"cannot remove {path}: {error.strerror or error}", hint="make the folder writable"
        ) from error


def read_result(path: Path) -> SessionResult:
    """Read a session's result file, refusing everything that is not schema 1.

    Raises:
        ResultError: The file is missing, malformed, or named for another session.
    """
    result = SessionResult.from_json(read_json(path))
    if path.stem != result.id:
        raise ResultError(f"{path.name}: holds the result of {result.id!r}")
    return result


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("id", "title", "run_id", "started", "reason", "remedy", "profile"), str),
    **dict.fromkeys(("name", "unit"), str),
    **dict.fromkeys(("model", "environment", "git"), dict),
    "limit": str | None,
    "duration_s": int | float,
}
"""Types of the fields that no constructor checks."""


def _mapping(data: object, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ResultError(f"{what}: expected an object, found {type(data).__name__}")
    return dict(data)


def _known(cls: type[Any], document: dict[str, Any]) -> dict[str, Any]:
    fields = {item.name: item for item in dataclasses.fields(cls)}
    unknown = sorted(set(document) - set(fields))
    if unknown:
        raise ResultError(f"{cls.__name__}: unknown key {unknown[0]!r}")
    missing = [
        name
        for name, item in fields.items()
        if name not in document
        and name != "checks"
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ResultError(f"{cls.__name__}: missing key {missing[0]!r}")
    for name, value in document.items():
        expected = _KINDS.get(name, object)
        if not isinstance(value, expected) or (isinstance(value, bool) and name == "duration_s"):
            raise ResultError(f"{cls.__name__}: {name} has the wrong type, {type(value).__name__}")
    return document


def _check(data: object) -> CheckResult:
    document = _known(CheckResult, _mapping(data, "check"))
    try:
        document["status"] = Status(document["status"])
        document["evidence"] = Evidence(document["evidence"])
    except ValueError as error:
        raise ResultError(f"check {document['id']}: {error}") from error
    values = document.get("measurements", [])
    if not isinstance(values, list):
        raise ResultError(f"check {document['id']}: measurements is not a list")
    document["measurements"] = tuple(_measurement(item) for item in values)
    places = document.get("diagnostics", [])
    if not isinstance(places, list) or len(places) > KEPT:
        raise ResultError(f"check {document['id']}: diagnostics is not a list of at most {KEPT}")
    document["diagnostics"] = tuple(
        Diagnostic(**_known(Diagnostic, _mapping(item, "diagnostic"))) for item in places
    )
    return CheckResult(**document)


def _measurement(data: object) -> Measurement:
    document = _known(Measurement, _mapping(data, "measurement"))
    if isinstance(document["value"], bool) or not isinstance(document["value"], int | float | str):
        raise ResultError(f"measurement {document['name']}: value is neither number nor text")
    samples = document.get("samples", [])
    if not isinstance(samples, list) or not all(isinstance(x, int | float) for x in samples):
        raise ResultError(f"measurement {document['name']}: samples is not a list of numbers")
    document["samples"] = tuple(samples)
    return Measurement(**document)
