"""`[tool.mlx-preflight.handoff]`: where the files for the next agent go.

What is written there is `report.handoff`'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import Rule, Table, one_of, setting
from mlx_preflight.plan.profiles import PROFILES


def _file(suffix: str) -> Rule:
    def holds(value: str) -> bool:
        path = PurePosixPath(value)
        outside = path.is_absolute() or ".." in path.parts or re.search(r"[\\\0-\x1f\x7f]", value)
        return not outside and path.suffix == suffix

    return Rule(f"a {suffix} file, relative to the project root", holds)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = Rule("letters, digits, '.', '_', '-'", lambda value: bool(_NAME.fullmatch(value)))


@dataclass(frozen=True, slots=True)
class Handoff(Table):
    """Names and places of the files for the next agent."""

    enabled: bool = setting(True, "Whether `summary` writes the files.")
    task: str = setting(
        "T001", "Task id in the queue, marked where the queue does not list the subtask.", _ID
    )
    subtask: str = setting(
        "T001-T01", "The tester's own task id, marked where the queue lists it.", _ID
    )
    agent: str = setting("tester", "Name under which the entries are signed.", _ID)
    report: str | None = setting(
        None,
        "Tester report; without it `.oodatcaa/work/reports/<task>/<agent>_<subtask>.md`.",
        _file(".md"),
        example='"reports/tester.md"',
    )
    queue: str = setting("SPRINT_QUEUE.json", "Task queue, JSON.", _file(".json"))
    log: str = setting("AGENT_LOG.md", "Log that every run is appended to once.", _file(".md"))
    profile: str = setting(
        "qwen2.5-coder-7b",
        "Profile that the task is about; a run of another one never makes it ready.",
        one_of(PROFILES),
    )
    create: bool = setting(False, "Whether a missing queue is created; else it is only reported.")

    @property
    def report_path(self) -> str:
        """Return where the tester report goes."""
        default = f".oodatcaa/work/reports/{self.task}/{self.agent}_{self.subtask}.md"
        return default if self.report is None else self.report

    def validate(self, where: str) -> None:
        """Refuse one file for two purposes.

        Raises:
            UsageError: Report and log are the same file.
        """
        if PurePosixPath(self.report_path) == PurePosixPath(self.log):
            raise UsageError(f"{where}: report and log are both {self.log!r}")
