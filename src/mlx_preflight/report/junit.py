"""Report as JUnit XML: a suite per session, a case per check.

BLOCKED is an error with that type and never `skipped`: readers count skipped as green.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from mlx_preflight.core.text import truncate

_FORBIDDEN = re.compile(
    "[^\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What XML 1.0 forbids, and what it allows but a terminal would obey: controls, direction marks."""

MAX_TEXT = 4000
"""Characters kept of one text; the complete text is in report.json."""


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


def xml_text(value: object) -> str:
    """Replace what XML forbids by U+FFFD, and cut the text to `MAX_TEXT` characters."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", truncate(str(value), MAX_TEXT))


def _suite(
    root: ET.Element, name: str, rows: list[Mapping[str, Any]], session: Mapping[str, Any]
) -> None:
    suite = ET.SubElement(root, "testsuite", name=xml_text(name))
    suite.set("time", f"{session.get('duration_s', 0.0):.3f}")
    if "started" in session:
        suite.set("timestamp", xml_text(session["started"]))
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
        suite, "testcase", classname=xml_text(session), name=xml_text(f"{row['id']} {row['title']}")
    )
    properties = ET.SubElement(case, "properties")
    ET.SubElement(properties, "property", name="evidence", value=xml_text(row["evidence"]))
    ET.SubElement(properties, "property", name="required", value=str(row["required"]).lower())
    for item in row["measurements"]:
        limit = f" (limit {item['limit']})" if item["limit"] else ""
        text = f"{item['value']} {item['unit']}{limit}"
        ET.SubElement(properties, "property", name=xml_text(item["name"]), value=xml_text(text))
    if row["status"] == "PASS":
        ET.SubElement(case, "system-out").text = xml_text(row["reason"])
        return
    tag = "failure" if row["status"] == "FAIL" else "error"
    note = ET.SubElement(case, tag, type=row["status"].lower(), message=xml_text(row["reason"]))
    advice = f"\ntry: {xml_text(row['remedy'])}" if row["remedy"] else ""
    note.text = xml_text(row["reason"]) + advice
