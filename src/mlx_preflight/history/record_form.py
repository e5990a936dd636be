"""Form of a record; one of another form is refused.

Records come from files that others wrote too (`runs import`, a shared folder). What they
quote reaches terminals and agents, so a text that is long, or holds characters which command a
terminal or turn text around, is refused here, and so is a number that nothing can measure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Status
from mlx_preflight.core.text import one_line

SCHEMA = 1

MAX_ID, MAX_NAME, MAX_VALUE, MAX_TEXT, MAX_NOTE = 64, 80, 200, 400, 4000
"""Characters kept of an id, a name, a value, a reason or remedy, and a note."""

MAX_PAIRS, MAX_CHECKS, MAX_MEASUREMENTS = 1000, 2000, 5000
"""Far beyond what the register can produce; a record over them is foreign."""

MAX_NUMBER = 1e300
"""No measurement is so large; as a float every number below it is finite."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Record = dict[str, Any]

_CHECK = {"status", "session", "title", "evidence", "reason", "remedy", "required"}
_SIGNED = {"who", "when", "note", "digest"}


def valid_run_id(run_id: object) -> bool:
    """Return whether a text can be the id of a run: it is used in names and addresses."""
    return isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) is not None


def validate(record: object) -> Record:
    """Return a valid record: of this schema, with clean fields of the right types.

    Raises:
        ResultError: It is not valid.
    """
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ResultError(f"not a record of schema {SCHEMA}")
    run_id = record.get("run_id")
    if not valid_run_id(run_id):
        raise ResultError(f"run id {str(run_id)[:40]!r} is not a plain name")
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in _FORMS:
        raise ResultError(f"record {run_id}: unknown kind {one_line(kind, 40)!r}")
    form = _FORMS[kind]
    if wrong := sorted((set(form) ^ set(record)) - ({"sign_offs"} & set(form))):
        raise ResultError(f"{kind} {run_id}: missing or foreign: {one_line(', '.join(wrong), 200)}")
    for name in sorted(record):
        if not form[name](record[name]):
            raise ResultError(f"{kind} {run_id}: {name} has an invalid value")
    return record


def _table(found: object) -> bool:
    return (
        isinstance(found, dict)
        and len(found) <= MAX_PAIRS
        and _clean(found, MAX_NAME)
        and _clean(found.values(), MAX_VALUE)
    )


def _checks(found: object) -> bool:
    if not (isinstance(found, dict) and len(found) <= MAX_CHECKS and _clean(found, MAX_ID)):
        return False
    checks = list(found.values())
    return all(
        isinstance(check, dict)
        and set(check) == _CHECK
        and check["status"] in list(Status)
        and isinstance(check["required"], bool)
        for check in checks
    ) and _clean((check[name] for check in checks for name in _CHECK - {"required"}), MAX_TEXT)


def _measurements(found: object) -> bool:
    if not (isinstance(found, dict) and len(found) <= MAX_MEASUREMENTS):
        return False
    words = [value for value in found.values() if isinstance(value, str)]
    numbers = [value for value in found.values() if not isinstance(value, str)]
    return (
        _clean(found, MAX_ID + 1 + MAX_NAME)
        and _clean(words, MAX_VALUE)
        and all(_number(value) for value in numbers)
    )


def _signed(found: object) -> bool:
    return (
        isinstance(found, Mapping)
        and len(found) <= MAX_PAIRS
        and _clean(found, MAX_ID)
        and all(isinstance(item, dict) and set(item) == _SIGNED for item in found.values())
        and _clean((text for item in found.values() for text in item.values()), MAX_NOTE)
    )


def _text(limit: int) -> Callable[[object], bool]:
    return lambda found: _clean([found], limit)


def _number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Not a number compares as false, and a whole number of any length compares at all.
        and abs(value) <= MAX_NUMBER
    )


def _clean(texts: Iterable[object], limit: int) -> bool:
    """Return whether all are texts of at most a length that only show what they hold."""
    found = list(texts)
    return all(isinstance(text, str) and len(text) <= limit for text in found) and (
        "".join(map(str, found)).isprintable()
    )


_COMMON: dict[str, Callable[[object], bool]] = {
    "schema": lambda found: found == SCHEMA,
    "kind": lambda found: found in _FORMS,
    "run_id": valid_run_id,
}
_FORMS: dict[str, dict[str, Callable[[object], bool]]] = {
    "note": {
        **_COMMON,
        "text": _text(MAX_NOTE),
        "who": _text(MAX_NAME),
        "when": _text(MAX_NAME),
    },
    "run": {
        **_COMMON,
        **dict.fromkeys(("started", "group", "profile", "model", "tool"), _text(MAX_TEXT)),
        **dict.fromkeys(("verdict", "machine", "holds_for", "system"), _text(MAX_TEXT)),
        **dict.fromkeys(("packages", "git", "settings"), _table),
        "status": lambda found: found in list(Status),
        "memory_bytes": _number,
        "checks": _checks,
        "measurements": _measurements,
        "sign_offs": _signed,
    },
}
"""Kind → field → whether a value is of its form. Only the sign-offs may be missing."""
