"""Terminal output of a report: a table of sessions, the verdict, the remedies.

Foreign text is stripped of escapes and wrapped in `Text`, so none of it is markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import format_number
from mlx_preflight.report.markdown import HEADLINES, grouped
from mlx_preflight.report.screen import word

SHOWN = 10
"""Findings printed; the rest is in the report."""

MAX_FIRST = 60
"""Characters of the first finding's reason in the table."""

ORDER = ("FAIL", "ERROR", "BLOCKED", "PASS")

Rows = Sequence[Mapping[str, Any]]


def show_report(report: Mapping[str, Any], path: Path, console: Console | None = None) -> None:
    """Print a report document; `path` is its complete text."""
    console = console or Console(highlight=False)
    console.print(_table(report))
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items() if count)
    console.print(
        Text.assemble(
            ("\n" + report["verdict"], "bold"), "  ", word(report["status"]), f"  {counts} checks"
        )
    )
    headline = HEADLINES.get(report["verdict"], "")
    console.print(Text(one_line(f"{headline}; it holds for {report['holds_for']}")))
    _findings(console, report["findings"])
    console.print(Text(f"\nreport: {one_line(path, 4096)}"), soft_wrap=True)


def _table(report: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("session", "status", "checks", "seconds"):
        table.add_column(title, no_wrap=True, justify="right" if title == "seconds" else "left")
    table.add_column("first finding", overflow="fold")
    by_session: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        by_session.setdefault(row["session"], []).append(row)
    for name, rows in by_session.items():
        seconds = report["sessions"].get(name, {}).get("duration_s")
        passed = sum(row["status"] == "PASS" for row in rows)
        table.add_row(
            Text(one_line(name)),
            word(min((row["status"] for row in rows), key=ORDER.index)),
            f"{passed}/{len(rows)}",
            "-" if seconds is None else format_number(seconds, 3),
            _first(rows),
        )
    return table


def _first(rows: Rows) -> Text:
    """Return the first of the worst rows and its reason; nothing when all passed."""
    first = min(rows, key=lambda row: ORDER.index(row["status"]))
    if first["status"] == "PASS":
        return Text()
    optional = "" if first["required"] else " (not required)"
    return Text(f"{one_line(first['id'])}{optional}: {one_line(first['reason'], MAX_FIRST)}")


def _findings(console: Console, findings: Rows) -> None:
    groups = list(grouped(findings))
    for ids, row in groups[:SHOWN]:
        line = Text.assemble("\n", word(row["status"]), " ", (one_line(ids), "bold"), " ")
        console.print(line.append(one_line(row["reason"])))
        if row["remedy"]:
            console.print(Text("  try: ", style="dim").append(one_line(row["remedy"])))
    if len(groups) > SHOWN:
        console.print(f"\n… and {len(groups) - SHOWN} more findings in the report")
