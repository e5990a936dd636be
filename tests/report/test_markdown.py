"""The Markdown report shows every row, and nothing foreign in it is markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlx_preflight.core.markdown_text import code_or_text, escape
from mlx_preflight.core.result import CheckResult, Evidence, Measurement, Status
from mlx_preflight.plan import register
from mlx_preflight.report import html, markdown

Maker = Callable[..., dict[str, Any]]

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=y> | a | b |\n# Heading\n\n"
    "[click](javascript:x) ![i](http://evil.example/i.png) **bold** `code` ``` \x1b[31mred\x1b[0m "
    "\x1b]0;title\x07 \x9b2J \x00\x07 [red]rich[/red] @everyone #1 https://evil.example "
    "www.evil.example &lt;b&gt; \\| \u202egnp.exe <!-- x --> ~~gone~~ $x$"
)

TAGS = {"h1", "h2", "p", "strong", "code", "ul", "li", "br", "em"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}


class Page(HTMLParser):
    """Collect tags and text of a rendered report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        # HTML in the source is passed through, as the most careless reader would.
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def check(name: str, status: Status, reason: str, **fields: Any) -> dict[str, CheckResult]:
    return {name: CheckResult(name, "t", status, Evidence.STATIC, reason, **fields)}


def test_every_row_is_there(make_report: Maker) -> None:
    """Each check has one table row with status and evidence."""
    text = markdown.render(make_report({}))
    for session in register.sessions():
        assert f"`{session.id}`" in text
        for item in session.checks:
            optional = "" if session.required else " (not required)"
            assert text.count(f"\n| {item.id} | ✅ PASS{optional} | static |") == 1
    assert Page(text).tags.count("table") == len(register.sessions())
    assert "## Findings" not in text


def test_the_verdict_comes_first(make_report: Maker) -> None:
    """Verdict, counts and the model that it holds for stand above all else."""
    first = Page(markdown.render(make_report({}))).text.split("Gate 1")[0]
    assert "ready_for_integrator" in first
    assert "every required check of the plan passed" in first
    assert "embedded model" in first


def test_a_finding_has_reason_and_remedy(make_report: Maker) -> None:
    """What did not pass is named with what to do, commands as code."""
    changed = check("GATE1", Status.FAIL, "two files", remedy="run `black .` then commit")
    text = markdown.render(make_report(changed))
    assert "- ❌ FAIL **GATE1**" in text
    assert "  - try: run `black .` then commit" in text


def test_a_session_that_did_not_run_is_one_finding(make_report: Maker) -> None:
    """The same reason is not repeated for every check of a session."""
    changed: dict[str, CheckResult] = {}
    for n in range(1, 7):
        changed |= check(f"AC4.{n}", Status.ERROR, "no result")
    text = markdown.render(make_report(changed))
    assert text.count("- ⚠️ ERROR") == 1
    assert "**AC4.1 to AC4.6** model loaded" in text
    assert text.count("| ⚠️ ERROR |") == 6


def test_a_finding_names_only_its_own_checks(make_report: Maker) -> None:
    """Checks between them that were judged otherwise are not swept in."""
    changed: dict[str, CheckResult] = {}
    for n in (2, 5, 6):
        changed |= check(f"AC4.{n}", Status.FAIL, "a file is missing")
    for n in (3, 4):
        changed |= check(f"AC4.{n}", Status.ERROR, "not loaded")
    text = markdown.render(make_report(changed))
    assert "FAIL **AC4.2, AC4.5 to AC4.6** model loaded" in text
    assert "ERROR **AC4.3 to AC4.4** model loaded" in text


def test_measurements_are_rendered_with_unit_and_limit(make_report: Maker) -> None:
    """Bytes become GB of 10^9, digests are short, limits are shown."""
    values = (
        Measurement("peak_bytes", 4_731_000_000, "bytes", "<= 16 GB"),
        Measurement("disk_bytes", 3_707_871, "bytes"),
        Measurement("load_s", 0.088228, "s"),
        Measurement("parameters", 7_615_616_512, "count"),
        Measurement("digest", "a" * 64, "sha256"),
    )
    text = markdown.render(make_report(check("AC6.7", Status.PASS, "fits", measurements=values)))
    shown = (
        r"peak\_bytes: 4.73 GB (limit &lt;= 16 GB)<br>disk\_bytes: 0.00371 GB<br>load\_s: 0.0882 s"
    )
    assert shown in text
    assert r"parameters: 7,615,616,512<br>digest: aaaaaaaaaaaa |" in text


def test_many_measurements_are_cut_and_say_so(make_report: Maker) -> None:
    """Of many values the first are shown and the rest is counted."""
    values = tuple(Measurement(f"v{n}", n, "count") for n in range(20))
    text = markdown.render(make_report(check("AC6.7", Status.PASS, "x", measurements=values)))
    assert "v7: 7<br>… 12 more in report.json" in text


@pytest.mark.parametrize("status", [Status.PASS, Status.FAIL])
def test_hostile_text_is_text(make_report: Maker, status: Status) -> None:
    """Script, link, image, table, mention and terminal escape in a reason stay words."""
    values = (Measurement(HOSTILE, HOSTILE, "text", HOSTILE),)
    changed = check("GATE2", status, HOSTILE, remedy=HOSTILE, measurements=values)
    report = make_report(changed)
    report |= {"holds_for": HOSTILE, "run_id": HOSTILE, "stale": [HOSTILE]}
    report["model"] = {HOSTILE: HOSTILE, "digests": {"a": "b"}}
    report["environment"] = {"processor": HOSTILE, "packages": {HOSTILE: HOSTILE}}
    report["git"] = {"commit": HOSTILE, "dirty": HOSTILE}
    text = markdown.render(report)
    page = Page(text)
    assert set(page.tags) <= TAGS
    assert page.attributes == []
    assert page.tags.count("table") == len(register.sessions())
    assert page.tags.count("h1") == 1
    assert page.tags.count("td") == 5 * len(report["rows"])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "[31m" not in page.text
    assert not re.search(r"https?://|(?<!\\)www\.e|@\w", text)
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.slow
@given(st.text(max_size=400))
@settings(deadline=None, max_examples=300)
def test_no_text_becomes_markup(text: str) -> None:
    """Whatever a reason holds, it adds no tag but code and stays in its cell."""
    cell = code_or_text(text)
    page = Page(f"| a | b |\n|---|---|\n| x{cell} | {escape(text)} |\n")
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert (page.tags.count("tr"), page.tags.count("td")) == (2, 2)
    assert page.attributes == []


def test_a_huge_reason_is_cut(make_report: Maker) -> None:
    """A megabyte in a reason takes a cell's length, and says that it was cut."""
    text = markdown.render(make_report(check("GATE2", Status.FAIL, "x" * 1_000_000)))
    assert "x" * 299 + "…" in text
    assert len(text) < 40_000


def test_a_huge_report_is_cut_and_says_so(make_report: Maker) -> None:
    """A report over the limit is cut at a line, with a note; the environment stays."""
    report = make_report({})
    report["rows"] = [{**row, "reason": "é<&" * 200} for row in report["rows"]]
    text = markdown.render(report)
    assert len(text.encode()) <= markdown.MAX_BYTES
    assert "\n\n*Cut here: the complete report is in report.json.*\n\n" in text
    assert "- commit c0ffee" in text
    assert text.startswith("# Preflight: ")


def test_what_is_unknown_is_called_unknown(make_report: Maker) -> None:
    """Without commit and machine the report says so."""
    report = make_report({}) | {"git": {}, "environment": {}}
    assert "- commit unknown, cleanness unknown" in markdown.render(report)
    report["git"] = {"commit": "c0ffee", "dirty": True}
    report["environment"] = {"memory_bytes": None}
    text = markdown.render(report)
    assert "- commit c0ffee, with uncommitted changes" in text
    assert "- unknown, unknown cores, RAM unknown; unknown" in text


def test_what_a_model_does_not_have_is_left_out(make_report: Maker) -> None:
    """A revision of None would read like the name of one."""
    report = make_report({})
    report["model"] = {"requested": "embedded", "revision": None}
    text = markdown.render(report)
    assert "model requested: embedded" in text
    assert "None" not in text


def test_every_package_of_a_judged_environment_is_named(make_report: Maker) -> None:
    """Sessions that judged the same packages share a line, in Markdown and in HTML."""
    packages = {f"package-{number}": f"{number}.0" for number in range(120)}
    judged = {"path": ".nox/a", "python": "3.11.7", "digest": "ab" * 32, "packages": packages}
    report = make_report({})
    first, second, *_ = report["sessions"]
    report["sessions"][first]["environment"]["judged"] = judged
    report["sessions"][second]["environment"]["judged"] = {**judged, "path": ".nox/b"}
    said = (
        f"{first}, {second} judged .nox/a, .nox/b (Python 3.11.7, 120 packages, sha256 "
        f"{'ab' * 6}): package-0 0.0, "
    )
    for text in (markdown.render(report).replace("\\", ""), html.render(report)):
        assert said in text
        assert "package-119 119.0" in text
