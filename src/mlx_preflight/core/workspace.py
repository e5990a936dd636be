"""Paths of everything that the package keeps in a project, below `.preflight`.

Nothing is created here: whoever writes a file makes its folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mlx_preflight.core.errors import ResultError

NAME = ".preflight"
"""Folder at the root of a project; git ignores it."""

REPORTS = ("report.json", "report.md", "report.html", "junit.xml", "report.sarif")
"""What a verdict writes into the folder."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folder in which a project's runs are kept.

    Attributes:
        folder: `.preflight` of the project, or a folder with the same contents.
    """

    folder: Path

    @classmethod
    def of(cls, project: Path) -> Self:
        """Return the workspace of a project."""
        return cls(project / NAME)

    def require_own(self) -> Self:
        """Return this, where its folders are the project's own.

        Raises:
            ResultError: One is a link: files would be written, and removed, somewhere else.
        """
        kept = (self.folder, self.results, self.folder / "artifacts", self.cache, self.history)
        for path in kept:
            if path.is_symlink():
                raise ResultError(
                    f"{path} is a link, and runs write and remove files there",
                    hint="replace it by a folder, or mount the other disk there",
                )
        return self

    @property
    def scripts(self) -> Workspace:
        """Return where `scripts/training` keep their results, apart from a run's."""
        return Workspace(self.folder / "scripts")

    @property
    def results(self) -> Path:
        """Return the folder of the result files, one per session."""
        return self.folder / "results"

    def result(self, session_id: str) -> Path:
        """Return the result file of a session."""
        return self.results / f"{session_id}.json"

    def artifacts(self, session_id: str) -> Path:
        """Return a session's own folder for what it produces."""
        return self.folder / "artifacts" / session_id

    @property
    def cache(self) -> Path:
        """Return the folder of what is computed again only when its inputs change."""
        return self.folder / "cache"

    @property
    def answers(self) -> Path:
        """Return the answers that AC5 judged, which a person signs."""
        return self.artifacts("ac5-inference") / "answers.json"

    @property
    def report(self) -> Path:
        """Return the report of the last run, from which the other formats are rendered."""
        return self.folder / "report.json"

    @property
    def markdown(self) -> Path:
        """Return the report as Markdown."""
        return self.folder / "report.md"

    @property
    def html(self) -> Path:
        """Return the report as a page."""
        return self.folder / "report.html"

    @property
    def junit(self) -> Path:
        """Return the report as JUnit XML."""
        return self.folder / "junit.xml"

    @property
    def sarif(self) -> Path:
        """Return the findings with a place in the code, as SARIF."""
        return self.folder / "report.sarif"

    @property
    def reports(self) -> tuple[Path, ...]:
        """Return every file that a verdict writes."""
        return tuple(self.folder / name for name in REPORTS)

    @property
    def manifest(self) -> Path:
        """Return the plan of the last run."""
        return self.folder / "run.json"

    @property
    def lock(self) -> Path:
        """Return the lock of the run that is in progress."""
        return self.folder / "run.lock"

    @property
    def selftest(self) -> Path:
        """Return the record of the last proof that every gate can fail."""
        return self.folder / "selftest.json"

    @property
    def benchmarks(self) -> Path:
        """Return the earlier benchmark figures, one line per run."""
        return self.folder / "benchmarks.jsonl"

    @property
    def history(self) -> Path:
        """Return the folder of the run history."""
        return self.folder / "history"

    def comparison(self, framework: str) -> Path:
        """Return what was measured of a training framework."""
        return self.folder / "compare" / f"{framework}.json"

    @property
    def agent_runs(self) -> Path:
        """Return the folder of the logs of runs that an MCP server started."""
        return self.folder / "agent-runs"

    @property
    def agent_run(self) -> Path:
        """Return which run an MCP server started last."""
        return self.folder / "agent-run.json"

    @property
    def agent_lock(self) -> Path:
        """Return the lock of the run that an MCP server started."""
        return self.folder / "agent-run.lock"

    @property
    def mcp_token(self) -> Path:
        """Return the token of the MCP server over HTTP."""
        return self.folder / "mcp-token"

    @property
    def ignore_file(self) -> Path:
        """Return the file that hides the folder from git and black."""
        return self.folder / ".gitignore"
