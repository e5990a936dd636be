"""Report as SARIF 2.1.0: a run per tool of the lint, types and audit gates.

A gate that could not judge must not read as an empty clean run: its invocation is
unsuccessful and says why, and so does a result. Everything foreign is one line of plain
text, and a path that leaves the project is not passed on.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mlx_preflight.core.diagnostic import KEPT, LINE_NUMBER, Diagnostic
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.text import one_line
from mlx_preflight.plan import register

TOOLS = {
    register.GATE2_LINT: ("ruff", "https://docs.astral.sh/ruff/"),
    register.GATE3_TYPES: ("mypy", "https://mypy.readthedocs.io/"),
    register.GATE8_AUDIT: ("pip-audit", "https://pypi.org/project/pip-audit/"),
}
"""Session → its tool and the tool's home."""

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

MAX_RESULTS = 5_000
"""Results of one run; GitHub refuses a run with over 25,000 and shows 5,000 of it."""

MAX_MESSAGE = 1_000
MAX_RULE = 200
MAX_LINE = 2**31 - 1

SETTINGS = "pyproject.toml"
"""Used in place of a location: GitHub refuses a whole file for one result without a location."""

FINGERPRINT = "mlxPreflight/v1"

_PLACEHOLDER = re.compile(r"\{(\d+)\}")
_STEP = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
_HTML = {ord("<"): r"\u003c", ord(">"): r"\u003e", ord("&"): r"\u0026"}

_Rows = Sequence[Mapping[str, Any]]
_Json = dict[str, Any]


def render(report: Mapping[str, Any]) -> str:
    """Return the SARIF text of a report document.

    Raises:
        ResultError: A session's diagnostics are damaged.
    """
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            _run(name, rows, report["sessions"].get(name, {}))
            for name in TOOLS
            if (rows := [row for row in report["rows"] if row["session"] == name])
        ],
    }
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    # No tag can leave the file where a page embeds it; JSON reads these back as they were.
    return text.translate(_HTML) + "\n"


def message(value: object, limit: int = MAX_MESSAGE) -> str:
    """Return foreign text as SARIF's plain text, which holds no link and no placeholder."""
    text = one_line(value, limit).replace("](", "] (")
    return _PLACEHOLDER.sub(r"{{\1}}", text) or "no text"


def uri(path: str) -> str:
    """Return a project's path as a relative URI; empty when it leaves the project."""
    outside = path.startswith(("/", "\\")) or _DRIVE.match(path) or ".." in _STEP.split(path)
    if outside or not path.isprintable():
        return ""
    return urllib.parse.quote("/".join(PurePosixPath(path).parts), safe="/")


def _run(name: str, rows: _Rows, session: Mapping[str, Any]) -> _Json:
    tool, home = TOOLS[name]
    found = sorted(_diagnostics(name, session), key=lambda item: item.state == "known")
    results = list(_results(tool, found[:MAX_RESULTS]))
    named = any(item["baselineState"] == "new" for item in results)
    results += [_of_check(tool, row) for row in rows if _speaks(row, named)]
    rules: dict[str, int] = {}
    for item in results:
        item["ruleIndex"] = rules.setdefault(item["ruleId"], len(rules))
    left_out = len(found) - min(len(found), MAX_RESULTS)
    notes = [_unjudged(row) for row in rows if row["status"] in {"ERROR", "BLOCKED"}]
    successful = not notes
    notes += [_note(text) for text in _cuts(session, left_out)]
    return {
        "tool": {
            "driver": {
                "name": tool,
                "informationUri": home,
                "rules": [_rule(tool, item, rows) for item in rules],
            }
        },
        "invocations": [{"executionSuccessful": successful, "toolExecutionNotifications": notes}],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {"session": name, "resultsLeftOut": left_out},
    }


def _diagnostics(name: str, session: Mapping[str, Any]) -> list[Diagnostic]:
    try:
        checks = session.get("checks", ())
        return [Diagnostic(**item) for check in checks for item in check["diagnostics"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"{name}: the diagnostics are damaged: {error!r}") from error


def _results(tool: str, found: Iterable[Diagnostic]) -> Iterator[_Json]:
    seen: Counter[str] = Counter()
    for item in found:
        code = item.code if item.tool == tool else f"{item.tool}/{item.code}"
        said = LINE_NUMBER.sub("line N", item.message)
        same = json.dumps([tool, code, item.path, said])
        # Equal findings are told apart by their order, never by their line.
        print_ = _digest(f"{same}#{seen[same]}")
        seen[same] += 1
        state = "unchanged" if item.state == "known" else "new"
        place = _place(item.path, item.line, item.column)
        yield _result(code, item.level, item.message, state, place, print_)


def _speaks(row: Mapping[str, Any], named: bool) -> bool:
    """Return whether a check is a result itself, as no finding stands for it.

    That is a failure without a new finding, such as grown suppressions, and a required gate
    that could not judge: GitHub does not read invocations, and would close its alerts unseen.
    """
    if row["status"] == "FAIL":
        return not named
    return row["status"] != "PASS" and bool(row["required"])


def _of_check(tool: str, row: Mapping[str, Any]) -> _Json:
    print_ = _digest(json.dumps([tool, row["id"]]))
    text = f"{row['id']} is {row['status']}: {row['reason']}"
    return _result(row["id"], "error", text, "new", _place("", 0, 0), print_)


def _result(code: str, level: str, text: str, state: str, place: _Json, fingerprint: str) -> _Json:
    return {
        "ruleId": message(code, MAX_RULE),
        "level": level,
        "message": {"text": message(text)},
        "baselineState": state,
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    }


def _place(path: str, line: int, column: int) -> _Json:
    inside = uri(path)
    place: _Json = {"artifactLocation": {"uri": inside or uri(SETTINGS), "uriBaseId": "%SRCROOT%"}}
    if inside and 1 <= line <= MAX_LINE:
        place["region"] = {"startLine": line}
        if 1 <= column <= MAX_LINE:
            place["region"]["startColumn"] = column
    return place


def _rule(tool: str, code: str, rows: _Rows) -> _Json:
    text = f"{tool} {code}"
    help_ = next((row["remedy"] for row in rows if row["remedy"]), "") or f"see {tool}'s own help"
    return {
        "id": code,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": message(help_)},
    }


def _unjudged(row: Mapping[str, Any]) -> _Json:
    level = "error" if row["required"] else "warning"
    note = _note(f"{row['id']} is {row['status']}: {row['reason']}", level)
    return {**note, "descriptor": {"id": one_line(row["id"], MAX_RULE)}}


def _cuts(session: Mapping[str, Any], left_out: int) -> Iterator[str]:
    if any(len(check["diagnostics"]) >= KEPT for check in session.get("checks", ())):
        yield f"the gate kept its first {KEPT} findings; its reason counts all of them"
    if left_out:
        yield f"{left_out} findings are left out, at most {MAX_RESULTS} are listed"


def _note(text: str, level: str = "note") -> _Json:
    return {"level": level, "message": {"text": message(text)}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
