"""The JUnit report parses, its counts are right, and nothing in it counts as skipped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core.result import CheckResult, Evidence, Measurement, Status
from mlx_preflight.plan import register
from mlx_preflight.report import junit

Maker = Callable[..., dict[str, Any]]

HOSTILE = "</testcase><x> ]]> & \" ' \x00\x0b\x1b[31m\x9b2J \ud800 \ufffe [red] \r\n é 🎉"


def check(name: str, status: Status, reason: str, **fields: Any) -> dict[str, CheckResult]:
    return {name: CheckResult(name, "t", status, Evidence.STATIC, reason, **fields)}


def test_every_check_is_a_case_of_its_session(make_report: Maker) -> None:
    """Suites and cases are the register, in its order, all green."""
    root = ET.fromstring(junit.render(make_report({})))
    assert [suite.get("name") for suite in root] == [item.id for item in register.sessions()]
    for suite, session in zip(root, register.sessions(), strict=True):
        names = [str(case.get("name")).split()[0] for case in suite.iter("testcase")]
        assert names == [item.id for item in session.checks]
        assert suite.get("time") == "1.250"
        assert suite.get("timestamp") == "2026-01-02T03:04:05+00:00"
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "0")


def test_each_status_has_its_element(make_report: Maker) -> None:
    """FAIL is a failure, ERROR and BLOCKED are errors, none is skipped; counts match."""
    changed = {
        **check("GATE1", Status.FAIL, "ugly", remedy="run black"),
        **check("GATE2", Status.ERROR, "crashed"),
        **check("AC4.2", Status.BLOCKED, "no weights"),
    }
    root = ET.fromstring(junit.render(make_report(changed)))
    marks = [
        (mark.tag, mark.get("type"), mark.get("message"))
        for mark in root.iter()
        if mark.get("type")
    ]
    assert marks == [
        ("failure", "fail", "ugly"),
        ("error", "error", "crashed"),
        ("error", "blocked", "no weights"),
    ]
    assert root.findall(".//skipped") == []
    assert (root.get("failures"), root.get("errors")) == ("1", "2")
    for element in (root, *root):
        assert element.get("tests") == str(len(list(element.iter("testcase"))))
        assert element.get("failures") == str(len(list(element.iter("failure"))))
        assert element.get("errors") == str(len(list(element.iter("error"))))
    [failure] = root.iter("failure")
    assert failure.text == "ugly\ntry: run black"


def test_evidence_and_measurements_are_properties(make_report: Maker) -> None:
    """A case carries how it knows and what was measured, with unit and limit."""
    values = (Measurement("load_s", 1.5, "s", "<= 2"), Measurement("tokens", 3, "count"))
    root = ET.fromstring(
        junit.render(make_report(check("AC4.2", Status.PASS, "x", measurements=values)))
    )
    [case] = [item for item in root.iter("testcase") if str(item.get("name")).startswith("AC4.2")]
    found = {str(item.get("name")): item.get("value") for item in case.iter("property")}
    assert found == {
        "evidence": "static",
        "required": "true",
        "load_s": "1.5 s (limit <= 2)",
        "tokens": "3 count",
    }


@pytest.mark.parametrize("status", list(Status))
def test_hostile_text_is_text(make_report: Maker, status: Status) -> None:
    """Markup, invalid characters and escapes in any field leave the document well-formed."""
    values = (Measurement(HOSTILE, HOSTILE, "text", HOSTILE),)
    changed = check("GATE2", status, HOSTILE, remedy=HOSTILE, measurements=values)
    text = junit.render(make_report(changed))
    root = ET.fromstring(text)
    assert len(list(root.iter("testcase"))) == sum(len(item.checks) for item in register.sessions())
    assert root.findall(".//x") == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    text.encode()


@given(st.text(st.characters(), max_size=50))
@settings(deadline=None)
def test_any_text_survives_as_xml(text: str) -> None:
    """What `xml_text` returns can stand in a document and be written as UTF-8."""
    element = ET.Element("x", value=junit.xml_text(text))
    element.text = junit.xml_text(text)
    assert ET.fromstring(ET.tostring(element, encoding="utf-8")).text == (
        junit.xml_text(text) or None
    )


def test_a_huge_reason_is_cut(make_report: Maker) -> None:
    """A megabyte in a reason is cut, and says so."""
    text = junit.render(make_report(check("GATE2", Status.FAIL, "x" * 1_000_000)))
    assert len(text) < 60_000
    assert "x…" in text


def test_a_session_without_a_result_has_cases(make_report: Maker) -> None:
    """A session that did not run is there, with no time of its own."""
    report = make_report(check("GATE2", Status.ERROR, "no result"))
    del report["sessions"]["gate2-lint"]
    suite = ET.fromstring(junit.render(report))[1]
    assert (suite.get("time"), suite.get("timestamp"), suite.get("errors")) == ("0.000", None, "1")
