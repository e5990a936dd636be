"""The table on the terminal shows every session whole, and obeys nothing foreign."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlx_preflight.core.result import CheckResult, Evidence, Status
from mlx_preflight.plan import register
from mlx_preflight.report import terminal

Maker = Callable[..., dict[str, Any]]

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]rich[/red] [link=http://x]y[/link] \x9b31m [/] :bomb: \u202e"


def check(name: str, status: Status, reason: str, **fields: Any) -> dict[str, CheckResult]:
    return {name: CheckResult(name, "t", status, Evidence.STATIC, reason, **fields)}


def shown(report: dict[str, Any], width: int = 80, *, tty: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=tty, highlight=False, legacy_windows=False
    )
    terminal.show_report(report, Path("/project/.preflight/report.md"), console)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_every_session_is_a_whole_line(make_report: Maker, width: int) -> None:
    """Ids, statuses and counts are never cut, at 80 columns and without a terminal."""
    text = shown(make_report({}), width)
    for session in register.sessions():
        [line] = [item for item in text.splitlines() if item.split(" ")[0] == session.id]
        count = len(session.checks)
        assert line.split() == [session.id, "PASS", f"{count}/{count}", "1.25"]
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


def test_the_verdict_follows_the_table(make_report: Maker) -> None:
    """After the table: verdict, counts, what it holds for, and where the report lies."""
    report = make_report({})
    text = " ".join(shown(report).split())
    assert f"ready_for_integrator PASS {len(report['rows'])} PASS checks" in text
    assert "it holds for the embedded model" in text
    assert text.endswith("report: /project/.preflight/report.md")


def test_a_finding_shows_reason_and_remedy(make_report: Maker) -> None:
    """The first finding is in the table, and all of them with remedies below it."""
    changed = {
        **check("AC4.2", Status.BLOCKED, "no weights", remedy="download them"),
        **check("AC4.3", Status.FAIL, "wrong size", remedy="use the right model"),
    }
    text = shown(make_report(changed))
    line = next(item for item in text.splitlines() if item.startswith("ac4-loading"))
    assert line.split()[1:3] == ["FAIL", "4/6"]
    assert "AC4.3: wrong size" in line
    assert "FAIL AC4.3 wrong size\n  try: use the right model" in text
    assert "BLOCKED AC4.2 no weights\n  try: download them" in text


def test_an_optional_finding_says_so(make_report: Maker) -> None:
    """A benchmark that is not PASS is marked as not required."""
    assert "BENCH1 (not required): slow" in " ".join(
        shown(make_report(check("BENCH1", Status.FAIL, "slow"))).split()
    )


def test_many_findings_are_cut_and_counted(make_report: Maker) -> None:
    """After ten findings the number of the others is said."""
    changed: dict[str, CheckResult] = {}
    for n, session in enumerate(register.sessions("preflight")[:12]):
        changed |= check(session.checks[0].id, Status.FAIL, f"reason {n}")
    text = shown(make_report(changed))
    assert text.count("\nFAIL ") == terminal.SHOWN
    assert "… and 2 more findings in the report" in text


@pytest.mark.parametrize("tty", [False, True])
def test_hostile_text_is_text(make_report: Maker, *, tty: bool) -> None:
    """Markup is printed as it is, and no escape but rich's own colours reaches the terminal."""
    changed = check("GATE2", Status.FAIL, HOSTILE, remedy=HOSTILE)
    report = make_report(changed) | {"holds_for": HOSTILE}
    text = shown(report, 200, tty=tty)
    assert "[red]rich[/red]" in text
    assert ":bomb:" in text
    assert "owned" not in text
    for sequence in ("\x1b[2J", "\x1b]", "\x9b", "\u202e"):
        assert sequence not in text
    assert ("\x1b[" in text) is tty


def test_a_huge_reason_is_cut(make_report: Maker) -> None:
    """A megabyte in a reason takes a few lines, and says that it was cut."""
    text = shown(make_report(check("GATE2", Status.FAIL, "x" * 1_000_000)))
    assert len(text) < 8_000
    assert "…" in text


def test_a_session_without_a_result_has_no_time(make_report: Maker) -> None:
    """What did not run shows a dash, not zero seconds."""
    report = make_report(check("GATE2", Status.ERROR, "no result"))
    del report["sessions"]["gate2-lint"]
    line = next(item for item in shown(report).splitlines() if item.startswith("gate2-lint"))
    assert line.split()[:4] == ["gate2-lint", "ERROR", "0/1", "-"]


def test_it_prints_on_stdout(make_report: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a console of its own it writes where people look."""
    terminal.show_report(make_report({}), Path("report.md"))
    assert "ready_for_integrator" in capsys.readouterr().out
