"""Gate 6: coverage of what gates 4 and 5 ran, compared exactly.

Coverage's own `fail_under` rounds: 84.60 % against 85 prints FAIL and exits 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.units import format_percent
from mlx_preflight.gates import pytest_run, tool
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

_UNSEEN = (
    'set patch = ["subprocess"] in [tool.coverage.run], or test the sources, not a copy of them'
)

_NO_SOURCE = (
    *("noxfile.py", "setup.py", "conftest.py", "test_*.py", "*_test.py"),
    *("tests/*", "test/*", "docs/*"),
)
"""Files of a project's root that are no source, as pytest and coverage name them."""


@dataclass(frozen=True, slots=True)
class CoverageRun:
    """JSON report of coverage, and the origin of its data.

    Attributes:
        totals: `totals` of the JSON report.
        files: `files` of it, by name.
        origin: Which gates' data were reused, and which were measured here.
    """

    ran: tool.ToolRun
    totals: dict[str, Any]
    files: dict[str, Any]
    origin: str
    limit: float


def gather(session: Session, context: Context) -> CoverageRun:
    """Combine the data of this run's test gates; measure what is not there yet.

    Raises:
        ResultError: The source folder is missing, or coverage made no report.
    """
    source = context.project / context.settings.source
    if not source.is_dir():
        raise ResultError(
            f"{context.settings.source}: no such folder, so there is nothing to cover",
            hint="name the folder with `source` in [tool.mlx-preflight]",
        )
    folders, origin = [], []
    for name in (pytest_run.UNIT, pytest_run.ACCEPTANCE):
        if (
            name == pytest_run.ACCEPTANCE
            and not (context.project / context.settings.acceptance).is_dir()
        ):
            origin.append("no acceptance folder")
            continue
        origin.append(_provide(session, context, name))
        folders.append(str(context.scratch(name)))
    folder = context.scratch(session.id)
    data, report = folder / pytest_run.DATA, folder / "report.json"
    report.unlink(missing_ok=True)
    env, python = pytest_run.environment(data), context.python
    combined = tool.run(context, "coverage", "combine", "--keep", *folders, env=env, python=python)
    if combined.done.returncode != 0:
        raise ResultError(f"coverage combined nothing: {combined.done.tail(2)}")
    asked = ["-o", str(report), "--fail-under=0", *_omitted(context.project, source)]
    ran = tool.run(context, "coverage", "json", *asked, env=env, python=python)
    if ran.done.returncode != 0:
        raise ResultError(f"coverage made no report: {ran.done.tail(2)}")
    found = read_json(report, limit_bytes=256_000_000)
    limit = context.settings.coverage_min
    return CoverageRun(ran, found["totals"], found["files"], "; ".join(origin), limit)


def _omitted(project: Path, source: Path) -> list[str]:
    """Leave tests and build files out, where the source is the project itself: scripts."""
    if source.resolve() != project.resolve():
        return []
    return ["--omit", ",".join(str(project / name) for name in _NO_SOURCE)]


def _provide(session: Session, context: Context, name: str) -> str:
    """Make sure that a test gate's coverage data of this run is there; return its origin.

    Raises:
        ResultError: It was measured here, and there is still none.
    """
    origin, code = "of this run", pytest_run.recorded_exit_code(context, name)
    if code is None:
        context.note(f"{session.id}: {name} left nothing in this run; measuring")
        tests = pytest_run.measure(context, name)
        origin, code = "measured here", pytest_run.recorded_exit_code(context, name)
        if code is None:
            raise ResultError(f"{name} left no coverage data: {tests.ran.done.tail(2)}")
    return f"{name} {origin}" + (f", pytest exited {code}" if code else "")


def gate6(facts: CoverageRun) -> Outcome:
    """Prove that the exact share of covered lines reaches the limit."""
    statements = int(facts.totals["num_statements"])
    missing = int(facts.totals["missing_lines"])
    if not statements or not facts.files:
        return facts.ran.error("coverage examined no statement")
    share = 100.0 * (statements - missing) / statements
    measured = facts.ran.measurements(
        Measurement("coverage_percent", share, "percent", f">= {facts.limit:g}"),
        Measurement("statements", statements, "count", ">= 1"),
        Measurement("statements_missing", missing, "count"),
        Measurement("files_examined", len(facts.files), "count", ">= 1"),
        Measurement("origin", facts.origin, "text"),
    )
    lines = f"{statements - missing} of {statements} lines in {len(facts.files)} files"
    reason = f"{format_percent(share)} ({lines}) are covered; {facts.origin}"
    if missing == statements:
        # A share of nothing is no share: nobody looked where the code ran.
        reason = f"no line was seen to run: in no test's own process, or of a copy; {reason}"
        return Outcome(Status.ERROR, reason, measurements=measured, remedy=_UNSEEN)
    if share < facts.limit:
        lacks = {name: item["summary"]["missing_lines"] for name, item in facts.files.items()}
        least = sorted((name for name in lacks if lacks[name]), key=lambda name: -lacks[name])[:5]
        named = ", ".join(f"{name} misses {lacks[name]}" for name in least)
        reason = f"{reason}; {format_percent(facts.limit)} required: {named}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    return Outcome(Status.PASS, reason, measurements=measured)


CHECKS = {register.GATE6: gate6}
