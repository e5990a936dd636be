"""The HTML page shows the verdict first and every row, loads nothing, and escapes the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core.result import CheckResult, Evidence, Measurement, Status
from mlx_preflight.plan import register
from mlx_preflight.report import html

Maker = Callable[..., dict[str, Any]]

HOSTILE = (
    "</td><script>alert(1)</script> <img src=x onerror=y> & \" ' {{ 7 * 7 }} {% raw %} "
    "\x1b[31mred\x1b[0m \x00\u202egnp.exe `<b>code</b>`"
)


class Page(HTMLParser):
    """Collect tags, attributes and visible text of a page, as a browser would read it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: dict[str, bool] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "details":
            named = dict(attrs)
            self.open[str(named["id"])] = "open" in named

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] != "style":
            self.text += data


def check(name: str, status: Status, reason: str, **fields: Any) -> dict[str, CheckResult]:
    return {name: CheckResult(name, "t", status, Evidence.STATIC, reason, **fields)}


def test_the_verdict_comes_first(make_report: Maker) -> None:
    """Verdict, counts and the model that it holds for stand above the plan."""
    text = html.render(make_report({}))
    first = Page(text).text.split("The plan")[0]
    assert "ready_for_integrator" in first
    assert f"{sum(len(item.checks) for item in register.sessions())} PASS of" in " ".join(
        first.split()
    )
    assert "embedded model" in first
    assert "Findings" not in first


def test_every_row_is_there_with_its_evidence(make_report: Maker) -> None:
    """Each check of the plan is one row, each session one part in the plan's order."""
    text = html.render(make_report({}))
    page = Page(text)
    assert list(page.open) == [item.id for item in register.sessions()]
    for item in register.sessions():
        for row in item.checks:
            assert text.count(f'<tr id="{row.id}">') == 1
    rows = sum(len(item.checks) for item in register.sessions())
    assert page.tags.count("tr") == rows + len(register.sessions())


def test_only_what_passed_is_folded(make_report: Maker) -> None:
    """A session with anything else than PASS lies open, and its worst status is its own."""
    changed = {
        **check("GATE2", Status.FAIL, "two errors"),
        **check("AC4.2", Status.BLOCKED, "no weights"),
        **check("AC6.3", Status.ERROR, "killed"),
    }
    text = html.render(make_report(changed))
    seen = Page(text).open
    assert {name for name, is_open in seen.items() if is_open} == {
        "gate2-lint",
        "ac4-loading",
        "ac6-memory",
    }
    part = text.split('<details id="ac4-loading"')[1]
    assert part.index('class="mark BLOCKED"') < part.index('class="mark PASS"')


def test_a_finding_has_reason_and_remedy(make_report: Maker) -> None:
    """Commands in back quotes are shown as code."""
    changed = check("GATE1", Status.FAIL, "two files", remedy="run `black .` then commit")
    text = html.render(make_report(changed))
    assert "<p>try: run <code>black .</code> then commit</p>" in text
    assert "two files" in text


def test_measurements_have_unit_and_limit(make_report: Maker) -> None:
    """All of them are shown, unlike in Markdown, whose tables must stay narrow."""
    values = tuple(Measurement(f"v{n}_bytes", n * 10**9, "bytes", "<= 16 GB") for n in range(20))
    text = html.render(make_report(check("AC6.7", Status.PASS, "fits", measurements=values)))
    assert 'v19_bytes: 19 GB <span class="soft">(limit &lt;= 16 GB)</span>' in text


def test_the_places_of_a_gate_are_named(make_report: Maker) -> None:
    """The first ones with file and line, the rest counted, accepted ones marked."""
    report = make_report(check("GATE2", Status.FAIL, "errors"))
    place = {
        "tool": "ruff",
        "code": "F401",
        "message": "unused <import>",
        "path": "src/a.py",
        "line": 3,
        "column": 1,
        "level": "error",
        "state": "known",
    }
    report["sessions"]["gate2-lint"]["checks"][0]["diagnostics"] = [place] * (html.MAX_PLACES + 7)
    text = html.render(report)
    assert text.count("<code>src/a.py:3</code> F401 unused &lt;import&gt; (known)") == 50
    assert "… 7 more in report.json" in text


def test_a_session_without_a_result_says_so(make_report: Maker) -> None:
    """No duration is made up for what did not run."""
    report = make_report(check("GATE7", Status.ERROR, "no result"))
    del report["sessions"]["gate7-build"]
    part = html.render(report).split('<details id="gate7-build"')[1].split("</summary>")[0]
    assert "no usable result of this run" in part


def test_hostile_text_is_text(make_report: Maker) -> None:
    """Markup, template code, terminal escapes and direction marks of strangers do nothing."""
    fields = {"remedy": HOSTILE, "measurements": (Measurement("x", HOSTILE, "text", HOSTILE),)}
    report = make_report(check("GATE1", Status.FAIL, HOSTILE, **fields))
    for key in ("verdict", "holds_for", "run_id", "started", "tool", "profile"):
        report[key] = HOSTILE
    report["model"] = {HOSTILE: HOSTILE}
    text = html.render(report)
    page = Page(text)
    assert not {"script", "img", "b", "a", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not re.search("[\x00\x1b\u202e]", text)


def test_the_page_loads_nothing(make_report: Maker) -> None:
    """No script, link or picture, and a policy that forbids them."""
    page = Page(html.render(make_report({})))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not {"href", "src", "action"} & {name for name, _ in page.attributes}


@settings(max_examples=40, deadline=None)
@given(st.text())
@pytest.mark.slow
def test_any_reason_leaves_the_page_whole(make_report: Maker, reason: str) -> None:
    """Tags are the same whatever a check says, beside code spans."""
    text = html.render(make_report(check("GATE1", Status.FAIL, f"x{reason}")))
    plain = html.render(make_report(check("GATE1", Status.FAIL, "x")))
    tags = [tag for tag in Page(text).tags if tag != "code"]
    assert tags == [tag for tag in Page(plain).tags if tag != "code"]
