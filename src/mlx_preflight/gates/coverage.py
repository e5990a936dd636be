"""Gate 6: coverage of what gates 4 and 5 ran, compared exactly.

Coverage's own `fail_under` rounds: 84.60 % against 85 prints FAIL and exits 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import pytest_run, tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status, read_json
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold coverage's JSON and where its data came from.

    Attributes:
        totals: `totals` of the JSON report.
        files: `files` of it, by name.
        origin: Which gates' data were reused, and which were measured here.
    """

    ran: tool.Ran
    totals: dict[str, Any]
    files: dict[str, Any]
    origin: str
    limit: float


def gather(session: Session, context: Context) -> Facts:
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
        known = pytest_run.measured(context, name)
        origin.append(f"{name} {'of this run' if known else 'measured here'}")
        if known is None:
            context.note(f"{session.id}: {name} has not run in this run; measuring")
            known = pytest_run.measure(context, name).data
        folders.append(str(known))
    folder = context.scratch(session.id)
    data, report = folder / pytest_run.DATA, folder / "report.json"
    report.unlink(missing_ok=True)
    combined = tool.run(context, "coverage", "combine", "--keep", f"--data-file={data}", *folders)
    if combined.done.returncode != 0:
        raise ResultError(f"coverage combined nothing: {combined.done.tail(2)}")
    ran = tool.run(
        context, "coverage", "json", f"--data-file={data}", "-o", str(report), "--fail-under=0"
    )
    if ran.done.returncode != 0:
        raise ResultError(f"coverage made no report: {ran.done.tail(2)}")
    found = read_json(report, limit_bytes=256_000_000)
    limit = context.settings.coverage_min
    return Facts(ran, found["totals"], found["files"], "; ".join(origin), limit)


def gate6(facts: Facts) -> Outcome:
    """Prove that the exact share of covered lines reaches the limit."""
    statements = int(facts.totals["num_statements"])
    missing = int(facts.totals["missing_lines"])
    if not statements or not facts.files:
        return facts.ran.error("coverage examined no statement")
    share = 100.0 * (statements - missing) / statements
    measured = facts.ran.measurements(
        Measurement("coverage_percent", share, "percent", f">= {facts.limit:g}"),
        Measurement("statements", statements, "count", ">= 1"),
        Measurement("files_examined", len(facts.files), "count", ">= 1"),
        Measurement("origin", facts.origin, "text"),
    )
    reason = f"{share:.2f} % of {statements} lines in {len(facts.files)} files are covered"
    if share < facts.limit:
        least = sorted(facts.files.items(), key=lambda item: -item[1]["summary"]["missing_lines"])
        names = [f"{name} lacks {it['summary']['missing_lines']}" for name, it in least[:5]]
        reason = f"{reason}, {facts.limit:g} % wanted: {'; '.join(names)}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    return Outcome(Status.PASS, reason, measurements=measured)
