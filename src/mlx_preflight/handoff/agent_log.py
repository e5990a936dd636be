"""Entry of one run in the agent log. This module must not read or write files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mlx_preflight.core.markdown_text import escape
from mlx_preflight.handoff import tester_report
from mlx_preflight.plan.handoff_settings import Handoff

TITLE = "# Agent log\n"

SHOWN = 12
"""Findings named in an entry; the tester report has all of them."""


def marker(document: Mapping[str, Any]) -> str:
    """Return the line by which a run is found again; invisible when rendered.

    A run id comes from the environment, so anything but a plain one is hashed.
    """
    run_id = str(document["run_id"])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", run_id) or "--" in run_id:
        run_id = hashlib.sha256(run_id.encode("utf-8", errors="replace")).hexdigest()
    return f"<!-- mlx-preflight run {run_id} -->"


def entry(document: Mapping[str, Any], handoff: Handoff, before: str) -> str:
    """Return the entry of a run, to be appended to a log that holds the text `before`."""
    verdict, holds_for = escape(document["verdict"]), escape(document["holds_for"])
    gates, criteria = (tester_report.tally(document, tag) for tag in ("gates", "ac"))
    lines = [
        f"## {escape(document['generated'])} {handoff.agent} {handoff.subtask}",
        "",
        marker(document),
        f"- Verdict: {verdict} (scope {escape(document['group'])}; it holds for {holds_for})",
        f"- Gates passed: {gates}; criteria passed: {criteria}",
        f"- Commit: {escape(tester_report.commit(document))}",
        f"- Report: {escape(handoff.report_path)}",
    ]
    ids = [escape(row["id"]) for row in document["findings"]]
    if ids:
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        lines.append(f"- Not passed: {', '.join(ids[:SHOWN])}{more}")
    return _lead(before) + "\n".join(lines) + "\n"


def _lead(before: str) -> str:
    """Return what separates an entry from the text before it: one empty line."""
    if not before:
        return TITLE + "\n"
    return "\n" * (2 - min(2, len(before) - len(before.rstrip("\n"))))
