"""One screen on a training run, before it starts (go or no-go) and after it (usable or not)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from mlx_preflight.core.result import CheckResult, SessionResult, Status
from mlx_preflight.core.text import one_line
from mlx_preflight.plan import register
from mlx_preflight.report.markdown import grouped, topic
from mlx_preflight.report.screen import plain_table, word

SHOWN = {
    "run": (register.RUN1_4, register.RUN1_5, register.RUN1_7),
    "trains": (register.RUN1_6,),
    "data": (register.RUN4_3, register.RUN4_6),
    "batches": (register.RUN4_12,),
    "memory": (register.RUN5_1, register.RUN5_2, register.RUN5_3, register.RUN6_3),
    "time": (register.RUN6_2, register.RUN7_1, register.RUN7_2),
    "machine": (register.RUN2_1, register.RUN2_4),
}
"""Line of the screen → checks whose reasons it shows where they passed."""

FINISHED = {
    "adapter": (register.FINISH1_1, register.FINISH1_6),
    "base": (register.FINISH1_2,),
    "learned": (register.FINISH1_5, register.FINISH2_2),
    "loss": (register.FINISH2_3,),
    "fused": (register.FINISH2_4, register.FINISH2_5),
}
"""The same of a finished training."""

WIDTH = 400
PLACES = 3
"""Characters of a reason, and places of a finding; the report has all."""


def show(
    document: Mapping[str, Any],
    results: Sequence[SessionResult],
    command: str,
    console: Console | None = None,
) -> None:
    """Print the verdict of a training run.

    Args:
        document: The report.
        results: Results of its sessions.
        command: What starts the run.
        console: Where to; None is the terminal.
    """
    console = console or Console(highlight=False)
    go = document["exit_code"] == 0
    headline = ("GO", "bold green") if go else ("NO-GO", "bold red")
    _show_report(console, headline, SHOWN, document, results)
    if go:
        console.print(Text.assemble("\nstart it with  ", (one_line(command, 4096), "bold")))
    else:
        console.print(Text(f"\njudged: {one_line(command, 4096)}"), soft_wrap=True)


def show_finished(
    document: Mapping[str, Any],
    results: Sequence[SessionResult],
    adapter: str,
    console: Console | None = None,
) -> None:
    """Print whether an adapter is usable, and why.

    Args:
        document: The report.
        results: Results of its sessions.
        adapter: Folder that was judged, as it was named.
        console: Where to; None is the terminal.
    """
    console = console or Console(highlight=False)
    usable = document["exit_code"] == 0
    headline = ("USABLE", "bold green") if usable else ("NOT USABLE", "bold red")
    if document["status"] not in {Status.PASS, Status.FAIL}:
        headline = ("NOT JUDGED", "bold yellow")
    _show_report(console, headline, FINISHED, document, results, f"{adapter} on ")


def _show_report(
    console: Console,
    headline: tuple[str, str],
    shown: Mapping[str, Sequence[str]],
    document: Mapping[str, Any],
    results: Sequence[SessionResult],
    before: str = "",
) -> None:
    """Print the verdict, the reasons of what passed, and every finding."""
    counts = ", ".join(f"{count} {name}" for name, count in document["counts"].items() if count)
    console.print(
        Text.assemble(headline, f"  {one_line(before + document['holds_for'])}  ({counts})")
    )
    checks = {check.id: check for item in results for check in item.checks}
    table = plain_table("ellipsis", "fold")
    for title, ids in shown.items():
        reasons = dict.fromkeys(check.reason for check in _passed(checks, ids))
        for number, reason in enumerate(reasons):
            table.add_row(Text(title if number == 0 else "", style="bold"), _line(reason))
    console.print(table)
    # Of the report: it also has what is missing or of another run.
    for names, row in grouped(document["findings"]):
        title = topic(names, row, document)
        head = Text.assemble("\n", word(row["status"]), " ", (names, "bold"), f" {title}: ")
        console.print(head.append(one_line(row["reason"], WIDTH)))
        _show_places(console, row, checks.get(row["id"]))


def _passed(checks: Mapping[str, CheckResult], ids: Sequence[str]) -> Iterator[CheckResult]:
    for name in ids:
        if name in checks and checks[name].status is Status.PASS:
            yield checks[name]


def _line(text: str) -> Text:
    return Text(one_line(text, WIDTH))


def _show_places(console: Console, row: Mapping[str, Any], check: CheckResult | None) -> None:
    """Print where a finding is, and what to do."""
    for place in check.diagnostics[:PLACES] if check else ():
        where = f"{place.path}:{place.line}" if place.path else ""
        if where and where not in row["reason"]:
            console.print(Text(f"  {one_line(where)}: {one_line(place.message)}", style="dim"))
    if row["remedy"]:
        console.print(Text("  try: ", style="dim").append(one_line(row["remedy"], WIDTH)))
