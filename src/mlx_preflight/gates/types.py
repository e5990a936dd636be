"""Gate 3: mypy, read from its JSON lines. Exit 2 means that it did not look at the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.diagnostic import Diagnostic
from mlx_preflight.gates import ratchet, suppressions, tool
from mlx_preflight.gates.ratchet import Ratchet
from mlx_preflight.isolate import redact
from mlx_preflight.plan import Session
from mlx_preflight.result import Outcome, Status
from mlx_preflight.runner import Context

_SUMMARY = re.compile(
    r"^(?:Found (?P<errors>\d+) errors? in \d+ files? \(checked (?P<some>\d+) source files?\)"
    r"|Success: no issues found in (?P<all>\d+) source files?)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what mypy printed and what its errors are compared with.

    Attributes:
        ran: The run that names the errors, as JSON lines; these hold no total.
        counted: The run that ends in mypy's own totals; answered from the cache.
    """

    ran: tool.Ran
    counted: tool.Ran
    ratchet: Ratchet


def gather(session: Session, context: Context) -> Facts:
    """Run `mypy .` twice; its cache is the session's own, so that parallel runs do not meet.

    Raises:
        ResultError: The recorded baseline cannot be used.
    """
    cache = context.scratch(session.id) / "cache"
    # mypy 2.4's SQLite cache now and then ends in "database is locked" (exit 2) on a busy disk.
    # Without `--show-traceback` a crash of mypy's own does not say why.
    common = (
        *("--cache-dir", str(cache), "--no-sqlite-cache"),
        *("--show-traceback", "--no-color-output"),
    )
    ran = tool.run(context, "mypy", *common, "--output", "json", ".")
    # Not `--linecount-report`, which names every file but makes mypy ignore its cache.
    counted = tool.run(context, "mypy", *common, "--error-summary", ".")
    files = suppressions.python_files(context.project)
    silenced = suppressions.count(suppressions.TYPES, context.project, files)
    return Facts(ran, counted, ratchet.prepare(suppressions.TYPES, context, ran, silenced))


def gate3(facts: Facts) -> Outcome:
    """Prove that mypy finds no error that was not accepted, in one file at least."""
    seen = examine(facts)
    if isinstance(seen, Outcome):
        return seen
    return ratchet.judge(facts.ratchet, facts.ran, *seen, "errors")


def examine(facts: Facts) -> tuple[list[Diagnostic], int] | Outcome:
    """Return the errors and the number of files, or the ERROR of a mypy that did not look."""
    done = facts.ran.done
    if suppressions.ignores_all(facts.ratchet.project):
        return Outcome(Status.ERROR, "mypy is told to ignore every error: ignore_errors is on")
    try:
        items = _items(facts.ran)
        errors = _errors(items)
    except (ValueError, KeyError, TypeError):
        return facts.ran.error("mypy printed a line that cannot be read")
    if done.returncode not in (0, 1) or done.truncated:
        named = "; ".join(filter(None, (_cause(facts.ran), ratchet.listed(errors))))
        stopped = "mypy stopped before it looked at everything"
        return facts.ran.error(f"{stopped}: {named}" if named else stopped)
    # Notes alone exit 1, too.
    if (done.returncode == 1) is not bool(items):
        return facts.ran.error(f"mypy named {len(errors)} errors")
    examined, counted = _totals(facts.counted)
    if not examined or counted != len(errors):
        text = f"mypy named {len(errors)} errors and counted {counted} in {examined} files"
        return facts.counted.error(text)
    return errors, examined


def _cause(ran: tool.Ran) -> str:
    """Return the exception that ends the traceback of a crash; empty where there is none."""
    _, found, rest = f"{ran.done.stderr}\n{ran.done.stdout}".rpartition("Traceback (most recent")
    # The frames are indented, and what follows the exception is mypy's advice.
    lines = (line for line in rest.splitlines()[1:] if line[:1].strip()) if found else iter(())
    return redact(next(lines, ""))


def _errors(items: list[dict[str, Any]]) -> list[Diagnostic]:
    """Return mypy's errors by file and line; its notes are not counted."""
    errors = [
        Diagnostic(
            tool="mypy",
            code=item["code"] or "misc",
            message=item["message"],
            path=Path(item["file"]).as_posix(),
            line=max(item["line"], 0),
            # mypy counts columns from 0, and gives -1 where it knows none.
            column=max(item["column"] + 1, 0),
        )
        for item in items
        if item["severity"] == "error"
    ]
    # mypy's order of files follows its import graph.
    return sorted(errors, key=lambda item: (item.path, item.line, item.column, item.code))


def _items(ran: tool.Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.done.stdout.splitlines() if line.startswith("{")]


def _totals(ran: tool.Ran) -> tuple[int, int]:
    """Return the files that mypy says it examined, and the errors that it counted."""
    found = _SUMMARY.search(ran.done.stdout)
    return (int(found["some"] or found["all"]), int(found["errors"] or 0)) if found else (0, 0)
