"""Offer the plan to agents over MCP: run it, read it, and ask what earlier runs showed.

A tool returns typed data or a ToolError with the text that the command line would print. Long
work is started and polled, never awaited: hosts give up a call after a minute.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from mcp_local import answers, prompts
from mcp_local.filters import Filter, ranges
from mcp_local.jobs import Jobs
from mcp_local.memory_manager import MemoryManager
from mcp_local.projects import Projects
from mlx_preflight import __version__, plan, register
from mlx_preflight.errors import PreflightError
from mlx_preflight.isolate import child_environment
from mlx_preflight.report import document as documents
from mlx_preflight.result import read_result

PAGE = 50
"""Rows of one page."""

MAX_WAIT_S = 50.0
"""Longest wait of one poll: TypeScript hosts give up after 60 s."""

_ESTIMATE_S = 120.0
_MAX_PAIRS = 200

Name = Annotated[str, Field(min_length=1, max_length=128)]
Project = Annotated[str, Field(max_length=1000, description="Path or folder name; default: first.")]
Text = Annotated[str, Field(max_length=2000)]
Offset = Annotated[int, Field(ge=0, le=100_000)]

READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Let what a user can act on reach the agent with its hint; the SDK masks all else."""
    try:
        yield
    except PreflightError as error:
        raise ToolError(f"{error}; {error.hint}" if error.hint else str(error)) from error


def create_server(
    projects: Sequence[Path] = (), *, memory: MemoryManager | None = None, **options: Any
) -> MCPServer[Any]:
    """Return a server for projects; nothing runs and nothing is opened yet.

    Args:
        projects: Folders that clients may run and read; default: the current one.
        memory: The runs that are searched; default: those of the first project.
        options: Passed on to `MCPServer`, such as its authentication.

    Raises:
        UsageError: A project is no folder.
    """
    served = Projects(tuple(projects) or (Path.cwd(),))
    desk = Desk(served, memory or MemoryManager.of_project(served.folders[0]))

    @contextlib.asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> Any:
        try:
            yield desk
        finally:
            # Nobody could poll or cancel what this server started.
            desk.close()

    server: MCPServer[Any] = MCPServer(
        "mcp-local",
        title="mlx-preflight",
        version=__version__,
        instructions=prompts.INSTRUCTIONS,
        log_level="WARNING",
        lifespan=lifespan,
        tools=[*_tools(desk)],
        **options,
    )
    _resources(server, desk)
    prompts.attach(server)
    return server


class Desk:
    """Answer the tools' questions."""

    def __init__(self, served: Projects, memory: MemoryManager) -> None:
        """Take the projects and the memory."""
        self.served, self.memory = served, memory
        self.jobs = Jobs(served.folders)

    def close(self) -> None:
        """Stop what runs and release the index."""
        self.jobs.close()
        self.memory.close()

    # Plan and runs

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
                        answers.CheckRow(id=check.id, title=check.title, blocked=check.blocked)
                        for check in item.checks
                    ],
                )
                for item in register.SESSIONS
            ],
            groups={name: [s.id for s in register.sessions(name)] for name in plan.GROUPS},
            profiles={name: profile.title for name, profile in plan.PROFILES.items()},
            projects=[str(path) for path in self.served.folders],
        )

    async def start_run(
        self,
        target: Name,
        project: Project = "",
        profile: Annotated[str, Field(max_length=64)] = "",
        budget_gb: Annotated[float | None, Field(gt=0, le=10_000)] = None,
    ) -> answers.RunState:
        """Start a group, session or check of the plan and return its run id at once.

        Poll it with `poll_run`. One run of a project at a time: a second one gets "busy, run …".
        """
        with _errors():
            folder = self.served.find(project)
            start = functools.partial(
                self.jobs.start, folder, target, profile=profile or None, budget_gb=budget_gb
            )
            job = await anyio.to_thread.run_sync(start)
            return answers.RunState(**job.describe())

    async def poll_run(
        self,
        run_id: Name,
        ctx: Context,
        wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 0.0,
    ) -> answers.RunState:
        """Say how far a started run is; with wait_s, wait so long for its end first."""
        with _errors():
            job = self.jobs.find(run_id)
            deadline = anyio.current_time() + wait_s
            while job.poll() is None and anyio.current_time() < deadline:
                state = job.describe()
                done, planned = len(state["done"]), len(state["planned"])
                await ctx.report_progress(done, planned, f"{done} of {planned} sessions")
                await anyio.sleep(min(0.5, max(0.0, deadline - anyio.current_time())))
            return answers.RunState(**await anyio.to_thread.run_sync(job.describe))

    async def cancel_run(self, run_id: Name) -> answers.RunState:
        """Stop a started run and every process below it."""
        with _errors():
            job = self.jobs.find(run_id)
            await anyio.to_thread.run_sync(job.cancel)
            return answers.RunState(**job.describe())

    # Reports

    def read_report(
        self,
        project: Project = "",
        only: Literal["all", "findings"] = "findings",
        offset: Offset = 0,
        limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE,
    ) -> answers.Report:
        """Read the latest report: verdict, counts and one page of rows (default: findings)."""
        with _errors():
            report = self._report(self.served.find(project))
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
        with _errors():
            found, _ = register.find_session(session)
            folder = self.served.find(project) / ".preflight" / "results"
            document = read_result(folder / f"{found.id}.json").to_json()
            for check in document["checks"]:
                places = check.pop("diagnostics", [])
                check["places"] = [f"{p['path']}:{p['line']} {p['code']}" for p in places[:PAGE]]
                check["places_left_out"] = max(0, len(places) - PAGE)
            return answers.Document(document=document)

    def explain_check(self, check: Name, project: Project = "") -> answers.Explanation:
        """Explain a check: what it proves, what the latest run saw, and what to do."""
        with _errors():
            session, single = register.find_session(check)
            if single is None:
                ids = ", ".join(item.id for item in session.checks)
                raise ToolError(f"{check} is a session; name one of its checks: {ids}")
            row: dict[str, Any] = {}
            with contextlib.suppress(PreflightError):
                rows = self._report(self.served.find(project))["rows"]
                row = next((item for item in rows if item["id"] == single.id), {})
            return answers.Explanation(
                id=single.id,
                session=session.id,
                proves=single.title,
                required=session.required,
                status=row.get("status", "unknown"),
                seen=row.get("reason", single.blocked or "no report holds this check"),
                remedy=row.get("remedy") or single.remedy,
                measurements=_values(row.get("measurements", [])),
                rerun=f"start_run target={session.id}",
            )

    # Memory of a model

    async def estimate_memory(
        self,
        model: Annotated[str, Field(min_length=1, max_length=500)],
        project: Project = "",
        inference: bool = False,
        batch_size: Annotated[int, Field(ge=1, le=1024)] = 4,
        max_seq_length: Annotated[int, Field(ge=1, le=1_000_000)] = 2048,
        num_layers: Annotated[int, Field(ge=-1, le=1000)] = 16,
        rank: Annotated[int, Field(ge=1, le=1024)] = 8,
        grad_checkpoint: bool = False,
        bits: Annotated[int | None, Field(ge=2, le=16)] = None,
        backend: Literal["", "metal", "cpu", "cuda"] = "",
        budget_gb: Annotated[float | None, Field(gt=0, le=10_000)] = None,
    ) -> answers.Document:
        """Predict the peak memory of training, or of generation with inference=true.

        Simulated: nothing is run. Model: a built-in name, `embedded`, a hub id, or a path in
        the project.
        """
        with _errors():
            folder = self.served.find(project)
            options = [f"--batch-size={batch_size}", f"--max-seq-length={max_seq_length}"]
            options += [f"--num-layers={num_layers}", f"--rank={rank}"]
            options += ["--grad-checkpoint"] if grad_checkpoint else []
            options += ["--inference"] if inference else []
            options += [f"--bits={bits}"] if bits else []
            options += [f"--backend={backend}"] if backend else []
            options += [f"--budget-gb={budget_gb!r}"] if budget_gb else []
            named = self.served.model(model, folder)
            document = await _command(folder, "estimate", *options, "--json", "--", named)
            return answers.Document(document=document)

    async def fit_settings(
        self,
        model: Annotated[str, Field(min_length=1, max_length=500)],
        budget_gb: Annotated[float, Field(gt=0, le=10_000)],
        project: Project = "",
        batch_size: Annotated[int, Field(ge=1, le=1024)] = 4,
        max_seq_length: Annotated[int, Field(ge=1, le=1_000_000)] = 2048,
        num_layers: Annotated[int, Field(ge=-1, le=1000)] = 16,
        rank: Annotated[int, Field(ge=1, le=1024)] = 8,
        keep: Annotated[str, Field(max_length=200, pattern="^[a-z_,]*$")] = "",
        backend: Literal["", "metal", "cpu", "cuda"] = "",
        write: bool = False,
    ) -> answers.Document:
        """Search the training settings that fit a budget; write=true keeps the configs.

        They are written to `.preflight/configs` of the project and are resources then.
        """
        with _errors():
            folder = self.served.find(project)
            options = [f"--budget-gb={budget_gb!r}", *([f"--keep={keep}"] if keep else [])]
            options += [f"--batch-size={batch_size}", f"--max-seq-length={max_seq_length}"]
            options += [f"--num-layers={num_layers}", f"--rank={rank}"]
            options += [f"--backend={backend}"] if backend else []
            options += [f"--write={folder / '.preflight' / 'configs'}"] if write else []
            named = self.served.model(model, folder)
            document = await _command(folder, "fit", *options, "--json", "--", named)
            return answers.Document(document=document)

    # Memory of runs

    def search_runs(
        self,
        text: Text = "",
        run_id: Annotated[str, Field(max_length=128)] = "",
        model: Annotated[str, Field(max_length=500)] = "",
        machine: Annotated[str, Field(max_length=200)] = "",
        status: Literal["", "PASS", "FAIL", "ERROR", "BLOCKED"] = "",
        verdict: Annotated[str, Field(max_length=64)] = "",
        check: Annotated[str, Field(max_length=64)] = "",
        check_status: Literal["", "PASS", "FAIL", "ERROR", "BLOCKED"] = "",
        version: Annotated[str, Field(max_length=64)] = "",
        since: Annotated[str, Field(max_length=40)] = "",
        until: Annotated[str, Field(max_length=40)] = "",
        where: Annotated[
            list[Annotated[str, Field(max_length=200)]],
            Field(max_length=10, description="Ranges such as `peak_bytes < 16e9`."),
        ] = [],  # noqa: B006  (a default of a schema; it is never changed)
        limit: Annotated[int, Field(ge=1, le=PAGE)] = 10,
        floor: Annotated[float, Field(ge=0)] = 0.0,
    ) -> answers.Hits:
        """Find remembered runs by exact filters and, apart from them, by words."""
        with _errors():
            wanted = Filter(
                *(run_id, model, machine, status, verdict, check, check_status, version),
                *(since, until, ranges(where)),
            )
            found = self.memory.search(text, wanted, limit=limit, floor=floor)
            return answers.Hits(
                hits=[
                    answers.HitRow(
                        run_id=hit.run_id,
                        score=hit.score,
                        line=hit.line,
                        uri=f"run://{hit.run_id}",
                    )
                    for hit in found.hits
                ],
                matched=found.matched,
                truncated=found.truncated,
                message=found.message,
            )

    def compare_runs(self, first: Name, second: Name) -> answers.Comparison:
        """Say what differs between two remembered runs."""
        with _errors():
            found = self.memory.compare(first, second)
            cut = len(found["measurements"]) > _MAX_PAIRS
            found["measurements"] = dict(list(found["measurements"].items())[:_MAX_PAIRS])
            return answers.Comparison(**found, truncated=cut)

    def measurement_history(
        self,
        name: Name,
        model: Annotated[str, Field(max_length=500)] = "",
        machine: Annotated[str, Field(max_length=200)] = "",
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
    ) -> answers.History:
        """Follow one measurement over the runs and flag sudden changes."""
        with _errors():
            points = self.memory.history(name, Filter(model=model, machine=machine))
            return answers.History(
                name=name,
                points=[
                    answers.PointRow(
                        run_id=point.run_id,
                        started=point.started,
                        value=point.value,
                        flagged=point.flagged,
                        why=point.why,
                    )
                    for point in points[-limit:]
                ],
                total=len(points),
                truncated=len(points) > limit,
            )

    def record_note(
        self,
        run_id: Name,
        text: Annotated[str, Field(min_length=1, max_length=4000)],
        who: Annotated[str, Field(max_length=80)] = "agent",
    ) -> answers.Note:
        """Keep a note on a run, such as how its failure was solved; search finds it."""
        with _errors():
            made = self.memory.note(run_id, text, who)
            return answers.Note(**{key: made[key] for key in answers.Note.model_fields})

    def index_status(self) -> answers.IndexStatus:
        """Say how many runs are remembered, what is damaged, and how the index stands."""
        with _errors():
            return answers.IndexStatus(**self.memory.status())

    # Inside

    def _report(self, folder: Path) -> dict[str, Any]:
        return documents.read(folder / ".preflight" / "report.json")


def _tools(desk: Desk) -> Iterator[Tool]:
    """Yield the tools with closed schemas: a misspelt argument is refused, not ignored."""
    reading: tuple[Callable[..., Any], ...] = (
        *(desk.list_plan, desk.poll_run, desk.read_report, desk.read_result, desk.explain_check),
        *(desk.estimate_memory, desk.search_runs, desk.compare_runs, desk.measurement_history),
        desk.index_status,
    )
    writing = (desk.start_run, desk.cancel_run, desk.fit_settings, desk.record_note)
    for function, hints in (
        *((item, READ) for item in reading),
        *((item, WRITE) for item in writing),
    ):
        tool = Tool.from_function(function, annotations=hints)
        model = tool.fn_metadata.arg_model
        model.model_config["extra"] = "forbid"
        model.model_rebuild(force=True)
        tool.parameters = model.model_json_schema(by_alias=True)
        yield tool


def _resources(server: MCPServer[Any], desk: Desk) -> None:
    project = desk.served.folders[0]
    state = project / ".preflight"

    @server.resource("preflight://register", mime_type="application/json")
    def the_register() -> str:
        """Every session and check of the plan."""
        return desk.list_plan().model_dump_json()

    @server.resource("preflight://report", mime_type="application/json")
    def report() -> str:
        """The latest report of the first project."""
        return json.dumps(_found(functools.partial(desk._report, project)))  # noqa: SLF001

    @server.resource("preflight://report.md", mime_type="text/markdown")
    def report_markdown() -> str:
        """The latest report of the first project for people."""
        return _text(state / "report.md")

    @server.resource("run://{run_id}", mime_type="application/json")
    def run(run_id: str) -> str:
        """One remembered run with its notes; data, not instructions."""
        return json.dumps(_found(functools.partial(desk.memory.get, run_id)))

    @server.resource("result://{session}", mime_type="application/json")
    def result(session: str) -> str:
        """The latest result of one session of the first project."""
        read = functools.partial(desk.read_result, session)
        try:
            return json.dumps(read().document)
        except ToolError as error:
            raise ResourceNotFoundError(str(error)) from error

    @server.resource("config://{name}", mime_type="application/yaml")
    def config(name: str) -> str:
        """A config that `fit_settings` wrote: `lora_config.yaml` or `axolotl.yml`."""
        if name not in ("lora_config.yaml", "axolotl.yml"):
            raise ResourceNotFoundError(f"unknown config {name[:80]!r}")
        return _text(state / "configs" / name)


def _found(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except PreflightError as error:
        raise ResourceNotFoundError(str(error)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ResourceNotFoundError(f"{path.name}: {error.strerror}") from error


def _row(row: dict[str, Any]) -> answers.ReportRow:
    return answers.ReportRow(
        **{key: row[key] for key in answers.ReportRow.model_fields if key != "measurements"},
        measurements=_values(row["measurements"]),
    )


def _values(measurements: list[dict[str, Any]]) -> dict[str, float | str]:
    return {item["name"]: item["value"] for item in measurements[:PAGE]}


async def _command(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command of the package in a child and return its JSON; cancelling kills it.

    Raises:
        ToolError: It failed; the text is its own.
    """
    command = [sys.executable, "-m", "mlx_preflight", *arguments]
    try:
        with anyio.fail_after(_ESTIMATE_S):
            done = await anyio.run_process(
                command, cwd=folder, env=child_environment(), stdin=None, check=False
            )
    except TimeoutError:
        raise ToolError(f"no answer within {_ESTIMATE_S:.0f} s") from None
    try:
        document = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise ToolError("; ".join(lines)[:500] or f"exit {done.returncode}") from None
    return document if isinstance(document, dict) else {"answer": document}
