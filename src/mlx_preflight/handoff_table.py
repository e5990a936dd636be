"""Hold `[tool.mlx-preflight.handoff]`: where the files for the next agent go.

It must import nothing beyond the standard library, as `plan` imports it. What is written
there is `report.handoff`'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlx_preflight import table
from mlx_preflight.errors import UsageError


@dataclass(frozen=True, slots=True)
class Handoff:
    """Hold `[tool.mlx-preflight.handoff]`; the files are written only where the table exists.

    Paths are relative to the project root and stay inside it.

    Attributes:
        enabled: Whether `summary` writes the files.
        task: Task id in the queue, marked where the queue does not list the subtask.
        subtask: The tester's own task id, marked where the queue lists it.
        agent: Name under which the entries are signed.
        report: Tester report; None takes
            `.oodatcaa/work/reports/<task>/<agent>_<subtask>.md`.
        queue: Task queue, JSON.
        log: Log that every run is appended to once.
        profile: Profile that the task is about; a run of another one never makes it ready.
        create: Whether a missing queue is created; else it is only reported.
    """

    enabled: bool = True
    task: str = "T001"
    subtask: str = "T001-T01"
    agent: str = "tester"
    report: str | None = None
    queue: str = "SPRINT_QUEUE.json"
    log: str = "AGENT_LOG.md"
    profile: str = "qwen2.5-coder-7b"
    create: bool = False

    @property
    def report_path(self) -> str:
        """Return where the tester report goes."""
        default = f".oodatcaa/work/reports/{self.task}/{self.agent}_{self.subtask}.md"
        return default if self.report is None else self.report


_TYPES: dict[str, tuple[type, ...]] = {
    "enabled": (bool,),
    "task": (str,),
    "subtask": (str,),
    "agent": (str,),
    "report": (str,),
    "queue": (str,),
    "log": (str,),
    "profile": (str,),
    "create": (bool,),
}


def read(found: object) -> Handoff:
    """Return the settings that a project's table asks for.

    Raises:
        UsageError: A key is unknown, a name is not a plain id, or a path leaves the project.
    """
    where = "[tool.mlx-preflight.handoff]"
    handoff = Handoff(**table.read(where, found, _TYPES))
    for name in ("task", "subtask", "agent"):
        value = getattr(handoff, name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise UsageError(f"{where} {name} = {value!r}: expected letters, digits, '.', '_', '-'")
    for name, suffix in (("report_path", ".md"), ("queue", ".json"), ("log", ".md")):
        value = getattr(handoff, name)
        path = PurePosixPath(value)
        outside = path.is_absolute() or ".." in path.parts or re.search(r"[\\\0-\x1f\x7f]", value)
        if outside or path.suffix != suffix:
            key = name.removesuffix("_path")
            raise UsageError(
                f"{where} {key} = {value!r}: expected a {suffix} file, relative to the project root"
            )
    if PurePosixPath(handoff.report_path) == PurePosixPath(handoff.log):
        raise UsageError(f"{where}: report and log are both {handoff.log!r}")
    return handoff
