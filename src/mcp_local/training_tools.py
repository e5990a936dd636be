"""Tools that judge a training run before it is started; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from pydantic import Field

from mcp_local import answers
from mcp_local.arguments import Budget, Project, errors
from mcp_local.jobs import Jobs
from mcp_local.projects import Projects
from mlx_preflight.core.errors import UsageError
from mlx_preflight.plan import register
from mlx_preflight.plan.options import RunOptions

Config = Annotated[str, Field(min_length=1, max_length=500, description="YAML in the project.")]


class TrainingTools:
    """Tools on training runs of the served projects; their folders need no pyproject.toml."""

    def __init__(self, served: Projects, jobs: Jobs) -> None:
        """Keep the projects and the runs."""
        self.served = served
        self.jobs = jobs

    async def qualify_run(
        self,
        config: Annotated[str, Field(max_length=500, description="YAML in the project.")] = "",
        model: Annotated[str, Field(max_length=500)] = "",
        data: Annotated[str, Field(max_length=500)] = "",
        project: Project = "",
        budget_gb: Budget | None = None,
        rehearse: bool = False,
    ) -> answers.RunState:
        """Judge a run of mlx_lm.lora before it is started: config, machine, data, memory, hours.

        Name its YAML config, or model and data. Returns a run id at once: poll it with
        `poll_run`, then `read_report` says go or no-go and why. With `rehearse`, slices of the
        model are trained for up to a minute; nothing else is trained. Rows are never returned:
        files, lines, lengths and counts only.
        """
        with errors():
            folder = self.served.find(project)
            arguments = self._arguments(folder, config, model, data)
            begin = partial(self.jobs.qualify, folder, arguments, budget_gb, rehearse=rehearse)
            job = await anyio.to_thread.run_sync(begin)
            return answers.RunState(**job.describe())

    async def check_data(self, config: Config, project: Project = "") -> answers.RunState:
        """Judge the training data of a YAML config of mlx_lm.lora: session run4-data alone.

        Returns a run id at once: poll it with `poll_run`, then `read_result` of run4-data has
        the findings with file and line, never a row's content.
        """
        with errors():
            folder = self.served.find(project)
            options = RunOptions(config=self.served.file(config, folder))
            job = await anyio.to_thread.run_sync(
                self.jobs.start, folder, register.RUN4_DATA, options
            )
            return answers.RunState(**job.describe())

    def _arguments(self, folder: Path, config: str, model: str, data: str) -> Sequence[str]:
        """Return the arguments of mlx_lm.lora for what was named.

        Raises:
            UsageError: Neither a config nor model and data, or both, or a path outside.
        """
        if config and not (model or data):
            return ("--config", self.served.file(config, folder))
        if config or not (model and data):
            raise UsageError("name either config, or model and data together")
        named = self.served.model(model, folder), self.served.data(data, folder)
        return ("--model", named[0], "--data", named[1], "--train")
