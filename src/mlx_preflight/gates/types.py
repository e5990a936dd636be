"""Gate 3: mypy, read from its JSON lines. Exit 2 means that it stopped early."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.core.text import redact
from mlx_preflight.gates import stale_caches, tool
from mlx_preflight.gates.baselines import ratchet, suppressions
from mlx_preflight.gates.baselines.ratchet import Ratchet
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

NOXFILE, _OF_NOXFILE = "noxfile.py", ("nox", "mlx-preflight")
"""The file that imports these distributions, which a project's tests need not."""

_SUMMARY = re.compile(
    r"^(?:Found (?P<errors>\d+) errors? in \d+ files? \(checked (?P<some>\d+) source files?\)"
    r"|Success: no issues found in (?P<all>\d+) source files?)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class MypyRun:
    """Output of mypy, and what its errors are compared with.

    Attributes:
        ran: The run that names the errors, as JSON lines; these hold no total.
        counted: The run that ends in mypy's own totals; answered from the cache.
        printed: Number of its lines that are errors or notes; None where one cannot be read.
        left_out: Files that belong to another environment.
        ignores_all: Whether mypy's own table ignores every error.
    """

    ran: tool.ToolRun
    counted: tool.ToolRun
    ratchet: Ratchet
    printed: int | None
    left_out: tuple[str, ...] = ()
    ignores_all: bool = False


def gather(session: Session, context: Context) -> MypyRun:
    """Run `mypy .` twice; its cache is the session's own, so that parallel runs do not meet.

    Raises:
        ResultError: The recorded baseline cannot be used.
    """
    cache, python = context.scratch(session.id) / "cache", context.python
    # mypy 2.4's SQLite cache now and then ends in "database is locked" (exit 2) on a busy disk.
    # Without `--show-traceback` a crash of mypy's own does not say why.
    # A noxfile is run, and so typed, where nox is: not in the project's own environment.
    outside = [] if all(map(context.environment.version, _OF_NOXFILE)) else [NOXFILE]
    common = (
        *(argument for name in outside for argument in ("--exclude", f"^{re.escape(name)}$")),
        *("--cache-dir", str(cache), "--no-sqlite-cache"),
        *("--show-traceback", "--no-color-output"),
    )
    started = time.time()
    try:
        ran = tool.run(context, "mypy", *common, "--output", "json", ".", python=python)
        # Not `--linecount-report`, which names every file but makes mypy ignore its cache.
        counted = tool.run(context, "mypy", *common, "--error-summary", ".", python=python)
    finally:
        stale_caches.forget_types(cache, context.project, started)
    files = suppressions.python_files(context.project)
    silenced = suppressions.count(suppressions.TYPES, context.project, files)
    try:
        items = _items(ran)
        errors, printed = _errors(items), len(items)
    except (ValueError, KeyError, TypeError):
        errors, printed = [], None
    return MypyRun(
        ran=ran,
        counted=counted,
        ratchet=ratchet.prepare(suppressions.TYPES, context, ran, silenced, errors),
        printed=printed,
        left_out=tuple(name for name in outside if (context.project / name).is_file()),
        ignores_all=suppressions.ignores_all(context.project),
    )


def gate3(facts: MypyRun) -> Outcome:
    """Prove that mypy finds no error that was not accepted, in one file at least."""
    examined = examine(facts)
    if isinstance(examined, Outcome):
        return examined
    outcome = ratchet.judge(facts.ratchet, facts.ran, examined, "errors")
    if not facts.left_out:
        return outcome
    names = ", ".join(facts.left_out)
    reason = f"{outcome.reason}; {names} left out: the project's environment has no nox"
    return dataclasses.replace(outcome, reason=reason)


def examine(facts: MypyRun) -> int | Outcome:
    """Return the number of files, or the ERROR of a mypy that did not check them."""
    done, errors = facts.ran.done, facts.ratchet.found
    if facts.ignores_all:
        return Outcome(Status.ERROR, "mypy ignores every error: ignore_errors is on")
    if facts.printed is None:
        return facts.ran.error("mypy printed a line that cannot be read")
    if done.returncode not in (0, 1) or done.truncated:
        named = "; ".join(filter(None, (_cause(facts.ran), ratchet.join_diagnostics(errors))))
        stopped = "mypy stopped before it checked every file"
        return facts.ran.error(f"{stopped}: {named}" if named else stopped)
    # Notes alone exit 1, too.
    if (done.returncode == 1) is not bool(facts.printed):
        return facts.ran.error(f"mypy named {len(errors)} errors")
    examined, counted = _totals(facts.counted)
    if not examined or counted != len(errors):
        text = f"mypy named {len(errors)} errors and counted {counted} in {examined} files"
        return facts.counted.error(text)
    return examined


def _cause(ran: tool.ToolRun) -> str:
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


def _items(ran: tool.ToolRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.done.stdout.splitlines() if line.startswith("{")]


def _totals(ran: tool.ToolRun) -> tuple[int, int]:
    """Return the files that mypy says it examined, and the errors that it counted."""
    found = _SUMMARY.search(ran.done.stdout)
    return (int(found["some"] or found["all"]), int(found["errors"] or 0)) if found else (0, 0)


CHECKS = {register.GATE3: gate3}
