"""Tools that search earlier runs, and record notes on them."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from mcp_local import answers
from mcp_local.arguments import PAGE, Machine, Model, Name, Project, Text, errors
from mcp_local.projects import Projects
from mlx_preflight.core.errors import UsageError
from mlx_preflight.history.filters import Filter, ranges
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.history.record_form import Record

Time = Annotated[str, Field(max_length=40, description="ISO 8601.")]
Where = Annotated[
    tuple[Annotated[str, Field(max_length=200)], ...],
    Field(max_length=10, description="Ranges such as `training_peak_bytes < 16e9`."),
]


class HistoryTools:
    """Tools of the run history; each project has a history of its own."""

    def __init__(self, served: Projects, memory: MemoryManager | None = None) -> None:
        """Name the histories, with another one for the first project; nothing is read yet."""
        self._served = served
        self._memories = {path: MemoryManager.of_project(path) for path in served.folders}
        if memory is not None:
            self._memories[served.folders[0]] = memory

    def memory(self, project: str = "") -> MemoryManager:
        """Return the history of a project; of the first, when none is named.

        Raises:
            UsageError: The server was not started for it.
        """
        return self._memories[self._served.find(project)]

    def run(self, run_id: str) -> Record:
        """Return a run of any project with its notes.

        Raises:
            UsageError: None has it.
        """
        for memory in self._memories.values():
            with contextlib.suppress(UsageError):
                return memory.get(run_id)
        return self.memory().get(run_id)

    def close(self) -> None:
        """Release the indexes."""
        for memory in self._memories.values():
            memory.close()

    def search_runs(
        self,
        text: Text = "",
        run_id: Annotated[str, Field(max_length=128)] = "",
        model: Model = "",
        machine: Machine = "",
        status: Literal["", "PASS", "FAIL", "ERROR", "BLOCKED"] = "",
        verdict: Annotated[str, Field(max_length=64)] = "",
        check: Annotated[str, Field(max_length=64)] = "",
        check_status: Literal["", "PASS", "FAIL", "ERROR", "BLOCKED"] = "",
        version: Annotated[str, Field(max_length=64)] = "",
        since: Time = "",
        until: Time = "",
        where: Where = (),
        limit: Annotated[int, Field(ge=1, le=PAGE)] = 10,
        floor: Annotated[float, Field(ge=0)] = 0.0,
        project: Project = "",
    ) -> answers.Hits:
        """Find recorded runs by exact filters and, apart from them, by words."""
        with errors():
            wanted = Filter(
                *(run_id, model, machine, status, verdict, check, check_status, version),
                *(since, until, ranges(where)),
            )
            found = self.memory(project).search(text, wanted, limit=limit, floor=floor)
            return answers.Hits(
                hits=[
                    answers.HitRow(**dataclasses.asdict(hit), uri=f"run://{hit.run_id}")
                    for hit in found.hits
                ],
                matched=found.matched,
                truncated=found.truncated,
                message=found.message,
            )

    def compare_runs(self, first: Name, second: Name, project: Project = "") -> answers.Comparison:
        """Compare two recorded runs: settings, packages, checks and measurements."""
        with errors():
            found = self.memory(project).compare(first, second)
            return answers.Comparison(**answers.quote(found), truncated=answers.exceeds(found))

    def measurement_history(
        self,
        name: Name,
        model: Model = "",
        machine: Machine = "",
        since: Time = "",
        where: Where = (),
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
        project: Project = "",
    ) -> answers.History:
        """Follow one measurement over the runs and flag sudden changes."""
        with errors():
            memory = self.memory(project)
            wanted = Filter(model=model, machine=machine, since=since, ranges=ranges(where))
            points = memory.history(name, wanted)
            return answers.History(
                name=name,
                points=[answers.PointRow(**dataclasses.asdict(point)) for point in points[-limit:]],
                total=len(points),
                truncated=len(points) > limit,
                message=memory.damage.words(),
            )

    def record_note(
        self,
        run_id: Name,
        text: Annotated[str, Field(min_length=1, max_length=4000)],
        who: Annotated[str, Field(max_length=80)] = "agent",
        project: Project = "",
    ) -> answers.Note:
        """Record a note on a run, such as how its failure was solved; search finds it."""
        with errors():
            made = self.memory(project).note(run_id, text, who)
            return answers.Note(**{key: made[key] for key in answers.Note.model_fields})

    def index_status(self, project: Project = "") -> answers.IndexStatus:
        """Return the number of recorded runs, the damage, and the state of the index."""
        with errors():
            return answers.IndexStatus(**self.memory(project).status())
