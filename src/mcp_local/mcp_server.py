"""MCP server of the plan: run it, read it, and search earlier runs.

A tool returns typed data or a ToolError with the text that the command line would print. Long
work is started and polled, never awaited: hosts give up a call after a minute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from mcp_local import prompts, resources
from mcp_local.estimate_tools import EstimateTools
from mcp_local.guard import guard
from mcp_local.history_tools import HistoryTools
from mcp_local.plan_tools import PlanTools
from mcp_local.projects import Projects
from mcp_local.training_tools import TrainingTools
from mlx_preflight import __version__
from mlx_preflight.history.memory_manager import MemoryManager

READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


def create_server(
    projects: Sequence[Path] = (), *, memory: MemoryManager | None = None, **options: Any
) -> MCPServer[Any]:
    """Return a server for projects; nothing runs and nothing is opened yet.

    Args:
        projects: Folders that clients may run and read; default: the current one.
        memory: Run history of the first project; default: the one in its `.preflight`.
        options: Passed on to `MCPServer`, such as its authentication.

    Raises:
        UsageError: A project is no folder.
    """
    served = Projects(tuple(projects) or (Path.cwd(),))
    plan = PlanTools(served)
    tools = Tools(
        plan,
        EstimateTools(served),
        HistoryTools(served, memory),
        TrainingTools(served, plan.jobs),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> Any:
        try:
            yield tools
        finally:
            # Nobody could poll or cancel what this server started.
            tools.close()

    server: MCPServer[Any] = MCPServer(
        "mcp-local",
        title="mlx-preflight",
        version=__version__,
        instructions=prompts.INSTRUCTIONS,
        log_level="WARNING",
        lifespan=lifespan,
        tools=[*_publish(tools)],
        middleware=[guard],
        **options,
    )
    resources.attach(server, tools.plan, tools.runs)
    prompts.attach(server)
    return server


@dataclass(frozen=True)
class Tools:
    """Tools of one server."""

    plan: PlanTools
    estimates: EstimateTools
    runs: HistoryTools
    training: TrainingTools

    def close(self) -> None:
        """Stop what runs and release the indexes."""
        self.plan.jobs.close()
        self.runs.close()


def _publish(tools: Tools) -> Iterator[Tool]:
    """Yield the tools with closed schemas: a misspelt argument is refused, not ignored."""
    plan, estimates, runs = tools.plan, tools.estimates, tools.runs
    training = tools.training
    reading: tuple[Callable[..., Any], ...] = (
        *(plan.list_plan, plan.poll_run, plan.read_report, plan.read_result, plan.explain_check),
        *(estimates.estimate_memory, runs.search_runs, runs.compare_runs),
        *(runs.measurement_history, runs.index_status),
    )
    writing = (
        *(plan.start_run, plan.cancel_run, estimates.fit_settings, runs.record_note),
        *(training.qualify_run, training.check_data),
    )
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
