"""Tools that run the plan and read its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from mcp_local import answers
from mcp_local.arguments import PAGE, Budget, Name, Offset, Project, errors
from mcp_local.jobs import Jobs
from mcp_local.projects import Projects
from mlx_preflight.core.errors import NothingRanError, PreflightError
from mlx_preflight.core.result import Status, read_result
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import profiles, register, spec
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.report import document as documents

MAX_WAIT_S = 50.0
"""Longest wait of one poll: TypeScript hosts give up after 60 s."""


class PlanTools:
    """Tools of runs, reports and results of the served projects."""

    def __init__(self, served: Projects) -> None:
        """Keep the projects; nothing runs yet."""
        self.served = served
        self.jobs = Jobs(served.folders)

    def list_plan(self) -> answers.Plan:
        """List every session and check of the plan, the groups, profiles and projects."""
        return answers.Plan(
            sessions=[
                answers.SessionRow(
                    id=item.id,
                    title=item.title,
                    tag=item.tag,
                    required=item.required,
                    checks=[
                        answers.CheckRow(id=check.id, title=check.title) for check in item.checks
                    ],
                )
                for item in register.SESSIONS
            ],
            groups={name: [s.id for s in register.sessions(name)] for name in spec.GROUPS},
            profiles={name: profile.title for name, profile in profiles.PROFILES.items()},
            projects=[str(path) for path in self.served.folders],
        )

    async def start_run(
        self,
        target: Name,
        project: Project = "",
        profile: Annotated[str, Field(max_length=64)] = "",
        budget_gb: Budget | None = None,
    ) -> answers.RunState:
        """Start a group, session or check of the plan and return its run id at once.

        Poll it with `poll_run`. One run of a project at a time: a second one gets "busy, run …".
        A group ends with a report; a single session leaves its result (`read_result`).
        """
        with errors():
            folder = self.served.find(project)
            options = RunOptions(profile=profile or None, budget_gb=budget_gb)
            job = await anyio.to_thread.run_sync(self.jobs.start, folder, target, options)
            return answers.RunState(**job.describe())

    async def poll_run(
        self,
        run_id: Name,
        ctx: Context,
        wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 0.0,
    ) -> answers.RunState:
        """Return the progress of a started run; with wait_s, wait so long for its end first.

        Also of runs that another server of the project started: `exit_code` is null where
        nobody saw the end.
        """
        with errors():
            job = self.jobs.find(run_id)
            deadline = anyio.current_time() + wait_s
            while job.running() and anyio.current_time() < deadline:
                state = job.describe()
                done, planned = len(state["done"]), len(state["planned"])
                await ctx.report_progress(done, planned, f"{done} of {planned} sessions")
                await anyio.sleep(min(0.5, max(0.0, deadline - anyio.current_time())))
            return answers.RunState(**await anyio.to_thread.run_sync(job.describe))

    async def cancel_run(self, run_id: Name) -> answers.RunState:
        """Stop a started run and every process below it."""
        with errors():
            job = self.jobs.find(run_id)
            await anyio.to_thread.run_sync(job.cancel)
            return answers.RunState(**await anyio.to_thread.run_sync(job.describe))

    def read_report(
        self,
        project: Project = "",
        only: Literal["all", "findings"] = "findings",
        offset: Offset = 0,
        limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE,
    ) -> answers.Report:
        """Read the latest report: verdict, counts and one page of rows (default: findings)."""
        with errors():
            report = self.report(self.served.find(project))
            rows = report["rows"] if only == "all" else report["findings"]
            page = rows[offset : offset + limit]
            return answers.Report(
                **{key: report[key] for key in ("run_id", "verdict", "status", "holds_for")},
                **{key: report[key] for key in ("counts", "group", "started")},
                model=str(report["model"].get("requested", "")),
                total=len(rows),
                offset=offset,
                rows=[_row(row) for row in page],
                truncated=offset + len(page) < len(rows),
            )

    def read_result(self, session: Name, project: Project = "") -> answers.Document:
        """Read one session's latest result file, without the places in the code."""
        with errors():
            found, _ = register.find_session(session)
            path = Workspace.of(self.served.find(project)).result(found.id)
            if not path.exists():
                raise NothingRanError(f"{path}: no result yet", hint=f"start_run target={found.id}")
            document = read_result(path).to_json()
            for check in document["checks"]:
                places = check.pop("diagnostics", [])
                check["places"] = [f"{p['path']}:{p['line']} {p['code']}" for p in places[:PAGE]]
                check["places_left_out"] = max(0, len(places) - PAGE)
            return answers.Document.of(document)

    def explain_check(self, check: Name, project: Project = "") -> answers.Explanation:
        """Explain a check: what it proves, what its latest run saw, and what to do."""
        with errors():
            session, single = register.find_session(check)
            if single is None:
                ids = ", ".join(item.id for item in session.checks)
                raise ToolError(f"{check} is a session; name one of its checks: {ids}")
            row: dict[str, Any] = {}
            seen = f"nothing that is kept says how {single.id} ended"
            folder = self.served.find(project)
            try:
                row = self._latest(folder, session.id, single.id)
            except PreflightError as error:
                # What a check proves is known without a result.
                seen = str(error)
            rerun = f"start_run target={session.id}"
            remedy = (single.remedy if row else "") or f"run it: {rerun}"
            if row.get("status") == Status.PASS:
                remedy = "nothing: it passed"
            return answers.Explanation(
                id=single.id,
                session=session.id,
                proves=single.title,
                required=session.required,
                status=row.get("status", "unknown"),
                run_id=row.get("run_id", ""),
                seen=row.get("reason", seen),
                remedy=row.get("remedy") or remedy,
                measurements=_values(row.get("measurements", [])),
                rerun=rerun,
            )

    def _latest(self, folder: Path, session: str, check: str) -> dict[str, Any]:
        """Return the row of a check by its session's result, else by the report; or none.

        A session that was started alone leaves a result and no report.
        """
        path = Workspace.of(folder).result(session)
        if path.exists():
            document = read_result(path).to_json()
            rows = document["checks"]
        else:
            document = self.report(folder)
            rows = document["rows"]
        found = next((item for item in rows if item["id"] == check), None)
        return {**found, "run_id": document["run_id"]} if found else {}

    def report(self, folder: Path) -> dict[str, Any]:
        """Return a project's latest report.

        Raises:
            PreflightError: There is none, or it is damaged.
        """
        return documents.read(Workspace.of(folder).report)


def _row(row: dict[str, Any]) -> answers.ReportRow:
    return answers.ReportRow(
        **{key: row[key] for key in answers.ReportRow.model_fields if key != "measurements"},
        measurements=_values(row["measurements"]),
    )


def _values(measurements: list[dict[str, Any]]) -> dict[str, int | float | str]:
    return {item["name"]: item["value"] for item in measurements[:PAGE]}
