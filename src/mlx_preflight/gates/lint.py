"""Gate 2: ruff, read from its JSON. A syntax error or a missing path is never a count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.gates import tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

NOT_LINT = ("E902", "invalid-syntax")
"""Codes of ruff 0.17 that mean "could not look", not "found something"."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold ruff's findings and the files it looked at."""

    ran: tool.Ran
    shown: tool.Ran
    project: Path
    limit: int


def gather(_session: Session, context: Context) -> Facts:
    """Run `ruff check .` for JSON, and once more for the list of its files."""
    # A project's `fix = true` would rewrite its files here and then report no finding.
    only_look = ("--no-fix", "--no-fix-only", "--no-cache")
    # ruff heeds a .gitignore only inside a git checkout; this adds to the project's own list.
    arguments = ("check", *only_look, "--extend-exclude", str(context.state), ".")
    return Facts(
        tool.run(context, "ruff", *arguments, "--output-format", "json"),
        tool.run(context, "ruff", *arguments, "--show-files"),
        context.project,
        context.settings.lint_max,
    )


def gate2(facts: Facts) -> Outcome:
    """Prove that ruff finds no more than the accepted number, in one file at least."""
    try:
        found: list[dict[str, Any]] = json.loads(facts.ran.done.stdout)
        lines = [_line(item, facts.project) for item in found]
    except (ValueError, KeyError, TypeError):
        return facts.ran.error("ruff printed no findings that can be read")
    if facts.ran.done.returncode not in (0, 1) or facts.ran.done.truncated:
        return facts.ran.error("ruff failed")
    unread = [
        line
        for item, line in zip(found, lines, strict=True)
        if item.get("code") in NOT_LINT or item.get("code") is None
    ]
    if unread:
        return facts.ran.error(f"{len(unread)} places cannot be parsed: {tool.listed(unread)}")
    examined = sum(line.endswith((".py", ".pyi")) for line in facts.shown.done.stdout.splitlines())
    if facts.shown.done.returncode != 0 or not examined:
        return facts.shown.error("ruff examined no Python file")
    measured = facts.ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement("findings", len(found), "count", f"<= {facts.limit}"),
    )
    reason = f"{len(found)} findings in {examined} files, {facts.limit} accepted"
    if len(found) > facts.limit:
        return Outcome(Status.FAIL, f"{reason}: {tool.listed(lines)}", measurements=measured)
    return Outcome(Status.PASS, reason, measurements=measured)


def _line(item: dict[str, Any], project: Path) -> str:
    path = Path(item["filename"])
    name = path.relative_to(project) if path.is_relative_to(project) else path
    return f"{name}:{item['location']['row']} {item['code']} {item['message']}"
