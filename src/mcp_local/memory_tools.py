"""Tools that ask what earlier runs showed, and keep notes on them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_local import answers
from mcp_local.arguments import PAGE, Machine, Model, Name, Text, errors
from mcp_local.filters import Filter, ranges
from mcp_local.memory_manager import MemoryManager


class MemoryTools:
    """Search, compare and follow remembered runs."""

    def __init__(self, memory: MemoryManager) -> None:
        """Take the memory; nothing is read yet."""
        self.memory = memory

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
        with errors():
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
        with errors():
            found = self.memory.compare(first, second)
            return answers.Comparison(**answers.quoted(found), truncated=answers.exceeds(found))

    def measurement_history(
        self,
        name: Name,
        model: Model = "",
        machine: Machine = "",
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
    ) -> answers.History:
        """Follow one measurement over the runs and flag sudden changes."""
        with errors():
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
        with errors():
            made = self.memory.note(run_id, text, who)
            return answers.Note(**{key: made[key] for key in answers.Note.model_fields})

    def index_status(self) -> answers.IndexStatus:
        """Say how many runs are remembered, what is damaged, and how the index stands."""
        with errors():
            return answers.IndexStatus(**self.memory.status())
