"""Gate 3: mypy, read from its JSON lines. Exit 2 means that it did not look at the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mlx_preflight.gates import tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what mypy printed and how many errors are accepted.

    Attributes:
        examined: Modules in mypy's line-count report; its JSON output names no total.
    """

    ran: tool.Ran
    examined: int
    limit: int


def gather(session: Session, context: Context) -> Facts:
    """Run `mypy .`; its cache is the session's own, so that parallel runs do not meet."""
    folder = context.scratch(session.id)
    report = folder / "report" / "linecount.txt"
    report.unlink(missing_ok=True)
    arguments = ("--output", "json", "--linecount-report", str(report.parent))
    ran = tool.run(context, "mypy", "--cache-dir", str(folder / "cache"), *arguments, ".")
    lines = report.read_text(encoding="utf-8").splitlines() if report.is_file() else []
    modules = [line.split()[-1] for line in lines if line.strip()]
    examined = sum(name != "total" for name in modules)
    return Facts(ran, examined, context.settings.types_max)


def gate3(facts: Facts) -> Outcome:
    """Prove that mypy finds no more errors than accepted, in one file at least."""
    done = facts.ran.done
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    try:
        items: list[dict[str, Any]] = [json.loads(line) for line in lines]
        errors = [_line(item) for item in items if item["severity"] == "error"]
    except (ValueError, KeyError, TypeError):
        return facts.ran.error("mypy printed a line that cannot be read")
    if done.returncode not in (0, 1) or done.truncated:
        named = f": {tool.listed(errors)}" if errors else ""
        return facts.ran.error(f"mypy stopped before it looked at everything{named}")
    examined = facts.examined
    if not examined:
        return facts.ran.error("mypy does not say that it examined a file")
    if (done.returncode == 1) is not bool(errors):
        return facts.ran.error(f"mypy named {len(errors)} errors")
    measured = facts.ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement("errors", len(errors), "count", f"<= {facts.limit}"),
    )
    reason = f"{len(errors)} errors in {examined} files, {facts.limit} accepted"
    if len(errors) > facts.limit:
        return Outcome(Status.FAIL, f"{reason}: {tool.listed(errors)}", measurements=measured)
    return Outcome(Status.PASS, reason, measurements=measured)


def _line(item: dict[str, Any]) -> str:
    return f"{item['file']}:{item['line']} {item['code']} {item['message']}"
