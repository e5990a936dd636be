"""Gate 3: mypy, read from its JSON lines. Exit 2 means that it did not look at the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlx_preflight.gates import tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

_SUMMARY = re.compile(
    r"^(?:Found (?P<errors>\d+) errors? in \d+ files? \(checked (?P<some>\d+) source files?\)"
    r"|Success: no issues found in (?P<all>\d+) source files?)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what mypy printed and how many errors are accepted.

    Attributes:
        ran: The run that names the errors, as JSON lines; these hold no total.
        counted: The run that ends in mypy's own totals; answered from the cache.
    """

    ran: tool.Ran
    counted: tool.Ran
    limit: int


def gather(session: Session, context: Context) -> Facts:
    """Run `mypy .` twice; its cache is the session's own, so that parallel runs do not meet."""
    cache = context.scratch(session.id) / "cache"
    common = ("--cache-dir", str(cache), "--no-color-output")
    ran = tool.run(context, "mypy", *common, "--output", "json", ".")
    # Not `--linecount-report`, which names every file but makes mypy ignore its cache.
    counted = tool.run(context, "mypy", *common, "--error-summary", ".")
    return Facts(ran, counted, context.settings.types_max)


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
    # Notes alone exit 1, too.
    if (done.returncode == 1) is not bool(items):
        return facts.ran.error(f"mypy named {len(errors)} errors")
    examined, counted = _totals(facts.counted)
    if not examined or counted != len(errors):
        text = f"mypy named {len(errors)} errors and counted {counted} in {examined} files"
        return facts.counted.error(text)
    measured = facts.ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement("errors", len(errors), "count", f"<= {facts.limit}"),
    )
    reason = f"{len(errors)} errors in {examined} files, {facts.limit} accepted"
    if len(errors) > facts.limit:
        return Outcome(Status.FAIL, f"{reason}: {tool.listed(errors)}", measurements=measured)
    return Outcome(Status.PASS, reason, measurements=measured)


def _totals(ran: tool.Ran) -> tuple[int, int]:
    """Return the files that mypy says it examined, and the errors that it counted."""
    found = _SUMMARY.search(ran.done.stdout)
    return (int(found["some"] or found["all"]), int(found["errors"] or 0)) if found else (0, 0)


def _line(item: dict[str, Any]) -> str:
    return f"{item['file']}:{item['line']} {item['code']} {item['message']}"
