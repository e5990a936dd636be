"""Turn a report into the record that is kept of a run: small, flat and bounded.

What a report quotes (reasons, remedies, model names) is a stranger's words: it is cut to
length and freed of control characters here, once, and stays data ever after.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlx_preflight.errors import ResultError
from mlx_preflight.result import Status

if TYPE_CHECKING:
    from mlx_preflight.criteria.sign_off import SignOff

SCHEMA = 1

MAX_TEXT = 400
"""Characters kept of a reason or a remedy."""

MAX_NOTE = 4000

_NAMED = 5
"""Checks that a run's line names."""

MAX_CHECKS = 2000
MAX_MEASUREMENTS = 5000
"""Far beyond what the register can produce; a record over them is foreign."""

_SETTINGS = (
    *("batch_size", "row_tokens", "lora_layers", "lora_rank", "weight_bits", "group_size"),
    "budget_bytes",
)
"""Measurements by which the checks of memory say what they trained with, and against what."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_REFUSED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
"""Unicode categories of characters that command a terminal, turn text around, or mean nothing."""

_SIGNED = ("who", "when", "note", "digest")

_ORDER = (Status.FAIL, Status.ERROR, Status.BLOCKED)

Record = dict[str, Any]


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """Return a text without control and direction characters, cut to a length."""
    kept = str(text)[: 4 * limit]
    if not kept.isprintable():
        kept = "".join(
            " " if char in "\n\r\t" else char
            for char in kept
            if char in "\n\r\t" or unicodedata.category(char) not in _REFUSED
        )
    words = " ".join(kept.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def valid_run_id(run_id: object) -> bool:
    """Return whether a text can be the id of a run: it is used in names and addresses."""
    return isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) is not None


def from_report(
    report: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    sign_offs: Iterable[SignOff] = (),
) -> Record:
    """Return the record of a run from its report.json.

    Args:
        report: The document, as `report.document.build` makes it.
        settings: What the run was configured with, as far as it is known.
        sign_offs: Those of the project; kept is what was signed of this run's answers.

    Raises:
        ResultError: The report lacks what a record needs.
    """
    try:
        rows, machine = report["rows"], report["environment"]
        record = {
            "schema": SCHEMA,
            "kind": "run",
            "run_id": report["run_id"],
            "started": str(report["started"]),
            "group": clean(report["group"]),
            "profile": clean(report["profile"]),
            "model": clean(report["model"].get("requested", "")),
            "tool": clean(report["tool"]),
            "verdict": clean(report["verdict"]),
            "status": Status(report["status"]).value,
            "holds_for": clean(report["holds_for"]),
            "machine": _machine(machine),
            "system": clean(machine.get("system", "unknown")),
            "memory_bytes": _whole(machine.get("memory_bytes")),
            "packages": {clean(k, 80): clean(v, 40) for k, v in _pairs(machine.get("packages"))},
            "git": {k: clean(v, 80) for k, v in _pairs(report["git"])},
            "settings": {clean(k, 80): clean(v, 200) for k, v in _pairs(settings)},
            "checks": {row["id"]: _check(row) for row in rows[:MAX_CHECKS]},
            "measurements": _measurements(rows),
        }
        if signed := _signed(record["measurements"], sign_offs):
            record["sign_offs"] = signed
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"this report cannot be remembered: {error!r}") from error
    validate(record)
    return record


def validate(record: object) -> Record:
    """Return a record that may be believed: of this schema, with fields of the right types.

    Raises:
        ResultError: It may not.
    """
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ResultError(f"not a record of schema {SCHEMA}")
    if not valid_run_id(record.get("run_id")):
        raise ResultError(f"record with the run id {str(record.get('run_id'))[:80]!r}")
    kind = record.get("kind")
    if kind == "note":
        if not all(isinstance(record.get(key), str) for key in ("text", "who", "when")):
            raise ResultError(f"note on {record['run_id']}: a field has the wrong type")
        return record
    if kind != "run":
        raise ResultError(f"record {record['run_id']}: unknown kind {str(kind)[:40]!r}")
    texts = ("started", "group", "profile", "model", "tool", "verdict", "status", "machine")
    tables = ("packages", "git", "settings", "checks", "measurements")
    if not all(isinstance(record.get(key), str) for key in texts) or not all(
        isinstance(record.get(key), dict) for key in tables
    ):
        raise ResultError(f"record {record['run_id']}: a field has the wrong type")
    if record["status"] not in list(Status):
        raise ResultError(f"record {record['run_id']}: unknown status")
    if not all(
        isinstance(check, dict) and check.get("status") in list(Status)
        for check in record["checks"].values()
    ) or not all(
        isinstance(value, int | float | str) and not isinstance(value, bool)
        for value in record["measurements"].values()
    ):
        raise ResultError(f"record {record['run_id']}: a check or measurement is damaged")
    signed = record.get("sign_offs", {})
    if not isinstance(signed, dict) or not all(
        isinstance(item, dict) and all(isinstance(item.get(key), str) for key in _SIGNED)
        for item in signed.values()
    ):
        raise ResultError(f"record {record['run_id']}: a sign-off is damaged")
    return record


def text_of(record: Record, notes: list[Record]) -> str:
    """Return what full-text search finds a run by: notes and what went wrong, then the rest."""
    worst = sorted(
        (item for item in record["checks"].items() if item[1]["status"] != Status.PASS),
        key=lambda item: _ORDER.index(item[1]["status"]),
    )
    wrong = [f"{name} {check['status']} {check.get('reason', '')}" for name, check in worst]
    about = [f"{check.get('title', '')} {check.get('remedy', '')}" for _, check in worst]
    settings = [f"{name} {value}" for name, value in record["settings"].items()]
    head = f"{record['model']} {record['profile']}"
    signed = [
        f"{check} signed off by {item['who']}: {item['note']}"
        for check, item in record.get("sign_offs", {}).items()
    ]
    noted = [note["text"] for note in notes]
    rest = [head, record["verdict"], *about, *settings, record["machine"]]
    return " \n".join([*noted, *signed, *wrong, *rest])


def settings_of(record: Record) -> dict[str, float | str]:
    """Return what a run trained with, by its own checks, and what its project configured."""
    trained = {
        short: value
        for name, value in record["measurements"].items()
        if (short := name.partition("/")[2]) in _SETTINGS
    }
    return {**trained, **record["settings"]}


def line_of(record: Record) -> str:
    """Return a run as one line for people and agents."""
    wrong = [name for name, item in record["checks"].items() if item["status"] != Status.PASS]
    more = " …" if len(wrong) > _NAMED else ""
    named = f": {', '.join(wrong[:_NAMED])}{more}" if wrong else ""
    passed = len(record["checks"]) - len(wrong)
    signed = "".join(
        f"; {check} signed off by {item['who']}"
        for check, item in record.get("sign_offs", {}).items()
    )
    return (
        f"{record['run_id']} {record['started']} {record['verdict']} ({record['status']}) "
        f"{record['model'] or record['profile']} on {record['machine']}: {passed} of "
        f"{len(record['checks'])} checks PASS{named}{signed}"
    )


def _check(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": Status(row["status"]).value,
        "session": clean(row["session"], 80),
        "title": clean(row["title"]),
        "evidence": clean(row["evidence"], 20),
        "reason": clean(row["reason"]),
        "remedy": clean(row["remedy"]),
        "required": bool(row["required"]),
    }


def _signed(
    measurements: Mapping[str, object], sign_offs: Iterable[SignOff]
) -> dict[str, dict[str, str]]:
    """Return criterion → sign-off, of the answers that this run gave and of no others."""
    answers = {value for name, value in measurements.items() if name.endswith("/answers_digest")}
    return {
        item.check: {
            "who": clean(item.who, 80),
            "when": clean(item.when, 40),
            "note": clean(item.note, MAX_NOTE),
            "digest": item.digest,
        }
        for item in sign_offs
        if item.digest in answers
    }


def _measurements(rows: list[Mapping[str, Any]]) -> dict[str, float | int | str]:
    """Return `CHECK/name` → value; the register never names one twice."""
    found: dict[str, float | int | str] = {}
    for row in rows[:MAX_CHECKS]:
        for item in row["measurements"]:
            value = item["value"]
            kept = value if isinstance(value, int | float) else clean(value, 200)
            found[f"{row['id']}/{clean(item['name'], 80)}"] = kept
            if len(found) >= MAX_MEASUREMENTS:
                return found
    return found


def _machine(environment: Mapping[str, Any]) -> str:
    """Return the kind of machine in words, equal for equal machines."""
    memory = _whole(environment.get("memory_bytes"))
    size = f"{memory / 1e9:.0f} GB" if memory else "unknown RAM"
    return clean(
        f"{environment.get('system', 'unknown')} {environment.get('machine', '')} "
        f"{environment.get('processor', '')}, {environment.get('cpu_count', '?')} cores, {size}",
        160,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _pairs(value: object) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
