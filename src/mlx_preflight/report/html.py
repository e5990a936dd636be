"""Report as one HTML page: verdict, findings with remedies, every row, environment.

The page loads nothing and runs nothing: no script, no link, styles inline, and a policy that
says so to the browser. Everything that came from outside is escaped by jinja2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mlx_preflight.core.result import Status
from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import format_limit, format_measurement, format_seconds
from mlx_preflight.report import markdown

MAX_TEXT = 4000
"""Characters kept of one text; the complete text is in report.json."""

MAX_PLACES = 50
"""Places shown per check; all that the result keeps are in report.json."""

_CODE = re.compile(r"`([^`\n]+)`")


def render(report: Mapping[str, Any]) -> str:
    """Return the HTML text of a report document."""
    titles = {item["id"]: item["title"] for item in report["planned"]}
    sessions = [
        _session(name, titles.get(name, name), list(rows), report["sessions"].get(name))
        for name, rows in groupby(report["rows"], key=lambda row: row["session"])
    ]
    return _template().render(
        report=report,
        counts={name: report["counts"].get(name, 0) for name in markdown.MARKS},
        headline=markdown.HEADLINES.get(report["verdict"], ""),
        findings=[
            (ids, row, markdown.topic(ids, row, report))
            for ids, row in markdown.grouped(report["findings"])
        ],
        sessions=sessions,
        environment=[
            one_line(fact, markdown.MAX_FACT) for fact in markdown.environment_facts(report)
        ],
        most=MAX_PLACES,
    )


def _session(
    name: str, title: str, rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the page shows of one session; it is folded only when all of it is PASS."""
    checks = result["checks"] if result else ()
    return {
        "id": name,
        "title": title,
        "rows": rows,
        "seconds": result["duration_s"] if result else None,
        "passed": sum(row["status"] == "PASS" for row in rows),
        "status": Status.worst([Status(row["status"]) for row in rows]).value,
        "places": {check["id"]: check["diagnostics"] for check in checks},
    }


@cache
def _template() -> Template:
    made = Environment(
        loader=PackageLoader("mlx_preflight.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["one_line"] = lambda value: one_line(value, MAX_TEXT)
    made.filters["parts"] = _parts
    made.filters["value"] = format_measurement
    made.filters["seconds"] = format_seconds
    made.filters["limit"] = format_limit
    return made.get_template("page.html.j2")


def _parts(value: object) -> list[tuple[bool, str]]:
    """Return a text in pieces, each with whether it is a `code span`."""
    pieces = _CODE.split(one_line(value, MAX_TEXT))
    return [(bool(n % 2), piece) for n, piece in enumerate(pieces) if piece]
