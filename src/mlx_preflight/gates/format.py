"""Gate 1: black. Its verbose lines are the only record of which files it examined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import child_environment
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings
from mlx_preflight.gates import tool
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

_LEFT = re.compile(r"^(.+) (?:already well formatted|wasn't modified on disk).*", re.MULTILINE)
_WOULD = re.compile(r"^would reformat (.+)$", re.MULTILINE)
# "cannot format FILE: …" in black 25, "cannot parse: FILE:1:2" in 26; warnings are not errors.
_BROKEN = re.compile(r"^error: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BlackRun:
    """Output of black, and the project's root."""

    ran: tool.ToolRun
    project: Path


def gather(session: Session, context: Context) -> BlackRun:
    """Run `black --check --verbose .`; its cache is the session's own."""
    cache = context.scratch(session.id) / "cache"
    env = child_environment({"BLACK_CACHE_DIR": str(cache)})
    return BlackRun(
        tool.run(context, "black", "--check", "--verbose", ".", env=env), context.project
    )


def gate1(facts: BlackRun) -> Outcome:
    """Prove that black would change no file, and examined at least one."""
    text = facts.ran.done.stderr
    broken, would = _BROKEN.findall(text), _WOULD.findall(text)
    examined = len(_LEFT.findall(text)) + len(would) + len(broken)
    if broken:
        names = [text.replace(f"{facts.project}/", "") for text in broken]
        return facts.ran.error(f"{len(broken)} files cannot be judged: {join_findings(names)}")
    if facts.ran.done.returncode not in (0, 1):
        return facts.ran.error("black failed")
    if not examined:
        return facts.ran.error("black examined no file")
    measured = facts.ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement("files_to_reformat", len(would), "count", "<= 0"),
    )
    if would:
        names = [tool.relative(name, facts.project) for name in would]
        reason = f"{len(would)} of {examined} files would be reformatted: {join_findings(names)}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    if facts.ran.done.returncode != 0:
        return facts.ran.error("black exited 1 and named no file")
    return Outcome(Status.PASS, f"{examined} files are formatted", measurements=measured)


CHECKS = {register.GATE1: gate1}
