"""Gate 2: ruff, read from its JSON. A syntax error or a missing path is never a count."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.diagnostic import Diagnostic
from mlx_preflight.gates import ratchet, suppressions, tool
from mlx_preflight.gates.ratchet import Ratchet
from mlx_preflight.plan import Session
from mlx_preflight.result import Outcome, Status
from mlx_preflight.runner import Context

NOT_LINT = ("E902", "invalid-syntax")
"""Codes of ruff 0.17 that mean "could not look", not "found something"."""


_RULES = re.compile(r"^linter\.rules\.enabled = \[\s*[a-z]", re.MULTILINE)
"""A list of rules that is not empty, as ruff 0.17 shows it for the first file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold ruff's findings, files and rules, and what the findings are compared with."""

    ran: tool.Ran
    shown: tool.Ran
    rules: tool.Ran
    ratchet: Ratchet


def gather(_session: Session, context: Context) -> Facts:
    """Run `ruff check .` for JSON, and again for its files and for its rules.

    Raises:
        ResultError: The recorded baseline cannot be used.
    """
    # A project's `fix = true` would rewrite its files here and then report no finding.
    only_look = ("--no-fix", "--no-fix-only", "--no-cache")
    # ruff heeds a .gitignore only inside a git checkout; this adds to the project's own list.
    arguments = ("check", *only_look, "--extend-exclude", str(context.state), ".")
    ran = tool.run(context, "ruff", *arguments, "--output-format", "json")
    shown = tool.run(context, "ruff", *arguments, "--show-files")
    rules = tool.run(context, "ruff", *arguments, "--show-settings")
    silenced = suppressions.count(suppressions.LINT, context.project, _files(shown))
    return Facts(ran, shown, rules, ratchet.prepare(suppressions.LINT, context, ran, silenced))


def gate2(facts: Facts) -> Outcome:
    """Prove that ruff finds nothing that was not accepted, in one file at least."""
    seen = examine(facts)
    if isinstance(seen, Outcome):
        return seen
    return ratchet.judge(facts.ratchet, facts.ran, *seen, "findings")


def examine(facts: Facts) -> tuple[list[Diagnostic], int] | Outcome:
    """Return the findings and the number of files, or the ERROR of a ruff that did not look."""
    try:
        found = _findings(facts)
    except (ValueError, KeyError, TypeError):
        return facts.ran.error("ruff printed no findings that can be read")
    if facts.ran.done.returncode not in (0, 1) or facts.ran.done.truncated:
        return facts.ran.error("ruff failed")
    unread = [item for item in found if item.code in NOT_LINT]
    if unread:
        return facts.ran.error(f"{len(unread)} places cannot be parsed: {ratchet.listed(unread)}")
    examined = len(_files(facts.shown))
    if facts.shown.done.returncode != 0 or not examined:
        return facts.shown.error("ruff examined no Python file")
    if not _RULES.search(facts.rules.done.stdout):
        return Outcome(Status.ERROR, "ruff is told to look for nothing: no rule is selected")
    return found, examined


def _findings(facts: Facts) -> list[Diagnostic]:
    """Return what ruff found, in its order; whatever else it printed raises."""
    items: list[dict[str, Any]] = json.loads(facts.ran.done.stdout)
    return [
        Diagnostic(
            tool="ruff",
            code=item["code"] or NOT_LINT[-1],
            message=item["message"],
            path=_relative(item["filename"], facts.ratchet.project),
            line=item["location"]["row"],
            column=item["location"]["column"],
        )
        for item in items
    ]


def _files(shown: tool.Ran) -> list[Path]:
    lines = shown.done.stdout.splitlines()
    return [Path(line) for line in lines if line.endswith((".py", ".pyi"))]


def _relative(name: str, project: Path) -> str:
    path = Path(name)
    return (path.relative_to(project) if path.is_relative_to(project) else path).as_posix()
