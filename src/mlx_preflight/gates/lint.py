"""Gate 2: ruff, read from its JSON. A syntax error or a missing path is never a count."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.gates import tool
from mlx_preflight.gates.baselines import ratchet, suppressions
from mlx_preflight.gates.baselines.ratchet import Ratchet
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

NOT_LINT = ("E902", "invalid-syntax")
"""Codes of ruff 0.17 that mean "could not look", not "found something"."""


_RULES = re.compile(r"^linter\.rules\.enabled = \[\s*[a-z]", re.MULTILINE)
"""A list of rules that is not empty, as ruff 0.17 shows it for the first file."""


@dataclass(frozen=True, slots=True)
class RuffRun:
    """Findings, files and rules of ruff, and what the findings are compared with.

    Attributes:
        ran: The run that names the findings, as JSON.
        shown: The run that names the files.
        rules: The run that names the rules.
        read: Whether the findings could be read; otherwise the ratchet has none.
    """

    ran: tool.ToolRun
    shown: tool.ToolRun
    rules: tool.ToolRun
    ratchet: Ratchet
    read: bool


def gather(_session: Session, context: Context) -> RuffRun:
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
    found = _findings(ran, context.project)
    compared = ratchet.prepare(suppressions.LINT, context, ran, silenced, found or [])
    return RuffRun(ran, shown, rules, compared, read=found is not None)


def gate2(facts: RuffRun) -> Outcome:
    """Prove that ruff finds nothing that was not accepted, in one file at least."""
    examined = examine(facts)
    if isinstance(examined, Outcome):
        return examined
    return ratchet.judge(facts.ratchet, facts.ran, examined, "findings")


def examine(facts: RuffRun) -> int | Outcome:
    """Return the number of files, or the ERROR of a ruff that did not check them."""
    if not facts.read:
        return facts.ran.error("ruff printed no findings that can be read")
    if facts.ran.done.returncode not in (0, 1) or facts.ran.done.truncated:
        return facts.ran.error("ruff failed")
    if unread := [item for item in facts.ratchet.found if item.code in NOT_LINT]:
        named = ratchet.join_diagnostics(unread)
        return facts.ran.error(f"{len(unread)} places cannot be parsed: {named}")
    examined = len(_files(facts.shown))
    if facts.shown.done.returncode != 0 or not examined:
        return facts.shown.error("ruff examined no Python file")
    if not _RULES.search(facts.rules.done.stdout):
        return Outcome(Status.ERROR, "ruff has no rule selected, so it can find nothing")
    return examined


def _findings(ran: tool.ToolRun, project: Path) -> list[Diagnostic] | None:
    """Return what ruff found, in its order; None where it printed anything else."""
    try:
        items: list[dict[str, Any]] = json.loads(ran.done.stdout)
        return [
            Diagnostic(
                tool="ruff",
                code=item["code"] or NOT_LINT[-1],
                message=item["message"],
                path=tool.relative(item["filename"], project),
                line=item["location"]["row"],
                column=item["location"]["column"],
            )
            for item in items
        ]
    except (ValueError, KeyError, TypeError):
        return None


def _files(shown: tool.ToolRun) -> list[Path]:
    lines = shown.done.stdout.splitlines()
    return [Path(line) for line in lines if line.endswith((".py", ".pyi"))]


CHECKS = {register.GATE2: gate2}
