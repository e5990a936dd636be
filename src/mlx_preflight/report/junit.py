"""Render a report as JUnit XML: a suite per session, a case per check.

BLOCKED is an error with that type and never `skipped`: readers count skipped as green.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

_FORBIDDEN = re.compile(
    "[^\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What XML 1.0 forbids, and what it allows but a terminal would obey: controls, direction marks."""

MAX_TEXT = 4000
"""Characters kept of one text; the whole is in report.json."""


def render(report: Mapping[str, Any]) -> str:
    """Return the XML text of a report document."""
    root = ET.Element("testsuites", name="mlx-preflight")
    by_session: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        by_session.setdefault(row["session"], []).append(row)
    for name, rows in by_session.items():
        _suite(root, name, rows, report["sessions"].get(name, {}))
    _count(root, report["rows"])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def clean(value: object) -> str:
    """Return a text without what XML forbids, cut to a sane length with `…` at the cut."""
    text = str(value)
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", cut)


def _suite(
    root: ET.Element, name: str, rows: list[Mapping[str, Any]], session: Mapping[str, Any]
) -> None:
    suite = ET.SubElement(root, "testsuite", name=clean(name))
    suite.set("time", f"{session.get('duration_s', 0.0):.3f}")
    if "started" in session:
        suite.set("timestamp", clean(session["started"]))
    _count(suite, rows)
    for row in rows:
        _case(suite, name, row)


def _count(element: ET.Element, rows: list[Mapping[str, Any]]) -> None:
    element.set("tests", str(len(rows)))
    element.set("failures", str(sum(row["status"] == "FAIL" for row in rows)))
    element.set("errors", str(sum(row["status"] not in {"PASS", "FAIL"} for row in rows)))
    element.set("skipped", "0")


def _case(suite: ET.Element, session: str, row: Mapping[str, Any]) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=clean(session), name=clean(f"{row['id']} {row['title']}")
    )
    properties = ET.SubElement(case, "properties")
    ET.SubElement(properties, "property", name="evidence", value=clean(row["evidence"]))
    ET.SubElement(properties, "property", name="required", value=str(row["required"]).lower())
    for item in row["measurements"]:
        limit = f" (limit {item['limit']})" if item["limit"] else ""
        text = f"{item['value']} {item['unit']}{limit}"
        ET.SubElement(properties, "property", name=clean(item["name"]), value=clean(text))
    if row["status"] == "PASS":
        ET.SubElement(case, "system-out").text = clean(row["reason"])
        return
    tag = "failure" if row["status"] == "FAIL" else "error"
    note = ET.SubElement(case, tag, type=row["status"].lower(), message=clean(row["reason"]))
    note.text = f"{clean(row['reason'])}\ntry: {clean(row['remedy'])}"
