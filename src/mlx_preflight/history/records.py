"""Record of a run, made from its report: small, flat and bounded.

What a report quotes (reasons, remedies, model names) is untrusted: it is cut to length and
freed of control characters here, once, and stays data ever after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Status
from mlx_preflight.core.text import one_line
from mlx_preflight.history.record_form import (
    MAX_CHECKS,
    MAX_ID,
    MAX_MEASUREMENTS,
    MAX_NAME,
    MAX_NOTE,
    MAX_TEXT,
    MAX_VALUE,
    SCHEMA,
    Record,
    validate,
)

if TYPE_CHECKING:
    from mlx_preflight.criteria.sign_off import SignOff

_NAMED = 5
"""Checks that a run's line names."""

_SETTINGS = (
    *("batch_size", "row_tokens", "lora_layers", "lora_rank", "weight_bits", "group_size"),
    "budget_bytes",
)
"""Measurements by which the checks of memory say what they trained with, and against what."""

_ORDER = (Status.FAIL, Status.ERROR, Status.BLOCKED)


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
            "started": one_line(report["started"], MAX_ID),
            "group": one_line(report["group"], MAX_TEXT),
            "profile": one_line(report["profile"], MAX_TEXT),
            "model": one_line(report["model"].get("requested", ""), MAX_TEXT),
            "tool": one_line(report["tool"], MAX_TEXT),
            "verdict": one_line(report["verdict"], MAX_TEXT),
            "status": Status(report["status"]).value,
            "holds_for": one_line(report["holds_for"], MAX_TEXT),
            "machine": _machine(machine),
            "system": one_line(machine.get("system", "unknown"), MAX_TEXT),
            "memory_bytes": _whole(machine.get("memory_bytes")),
            "packages": {
                one_line(k, MAX_NAME): one_line(v, MAX_NAME)
                for k, v in _pairs(machine.get("packages"))
            },
            "git": {one_line(k, MAX_NAME): one_line(v, MAX_NAME) for k, v in _pairs(report["git"])},
            "settings": {
                one_line(k, MAX_NAME): one_line(v, MAX_VALUE) for k, v in _pairs(settings)
            },
            "checks": {one_line(row["id"], MAX_ID): _check(row) for row in rows[:MAX_CHECKS]},
            "measurements": _measurements(rows),
        }
        if signed := _signed(record["measurements"], sign_offs):
            record["sign_offs"] = signed
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"this report cannot be recorded: {error!r}") from error
    validate(record)
    return record


def search_text(record: Record, notes: list[Record]) -> str:
    """Return what full-text search finds a run by: notes and what went wrong, then the rest.

    Machine and verdict are left to the exact filters: their words stand in nearly every record,
    so they tell none apart, and embedded search takes time for each.
    """
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
    return " \n".join([*noted, *signed, *wrong, head, *about, *settings])


def run_settings(record: Record) -> dict[str, float | str]:
    """Return what a run trained with, by its own checks, and what its project configured."""
    trained = {
        short: value
        for name, value in record["measurements"].items()
        if (short := name.partition("/")[2]) in _SETTINGS
    }
    return {**trained, **record["settings"]}


def format_line(record: Record) -> str:
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
        "session": one_line(row["session"], MAX_NAME),
        "title": one_line(row["title"], MAX_TEXT),
        "evidence": one_line(row["evidence"], MAX_NAME),
        "reason": one_line(row["reason"], MAX_TEXT),
        "remedy": one_line(row["remedy"], MAX_TEXT),
        "required": bool(row["required"]),
    }


def _signed(
    measurements: Mapping[str, object], sign_offs: Iterable[SignOff]
) -> dict[str, dict[str, str]]:
    """Return criterion → sign-off, of the answers that this run gave and of no others."""
    answers = {value for name, value in measurements.items() if name.endswith("/answers_digest")}
    return {
        item.check: {
            "who": one_line(item.who, MAX_NAME),
            "when": one_line(item.when, MAX_NAME),
            "note": one_line(item.note, MAX_NOTE),
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
            kept = value if isinstance(value, int | float) else one_line(value, MAX_VALUE)
            found[f"{one_line(row['id'], MAX_ID)}/{one_line(item['name'], MAX_NAME)}"] = kept
            if len(found) >= MAX_MEASUREMENTS:
                return found
    return found


def _machine(environment: Mapping[str, Any]) -> str:
    """Return the kind of machine in words, equal for equal machines."""
    memory = _whole(environment.get("memory_bytes"))
    # Not `format_bytes`: runs are compared by this text with those of earlier records.
    size = f"{memory / 1e9:.0f} GB" if memory else "unknown RAM"
    return one_line(
        f"{environment.get('system', 'unknown')} {environment.get('machine', '')} "
        f"{environment.get('processor', '')}, {environment.get('cpu_count', '?')} cores, {size}",
        MAX_VALUE,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _pairs(value: object) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
