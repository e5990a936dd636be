"""One place that a gate points at, for programs: editors, SARIF, the next run.

The reason of a check names a few for people; the result file keeps up to `KEPT` of them.
Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_preflight.core.errors import ResultError

KEPT = 1000
"""Diagnostics that one check keeps; a result file stays far below what a reader accepts."""

LINE_NUMBER = re.compile(r"\bline \d+\b")
"""Messages such as ruff's F811 and mypy's no-redef name a line, which moves."""

LEVELS = ("error", "warning", "note")
STATES = ("new", "known")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of a tool.

    Attributes:
        tool: Distribution that found it, such as `ruff`.
        code: The tool's rule or advisory id.
        message: One line; untrusted, to be escaped where it is shown.
        path: File relative to the project with `/`, or empty when it has no place.
        line: First line, from 1; 0 without a place.
        column: First column, from 1; 0 when unknown.
        level: One of `LEVELS`.
        state: `known` when a recorded baseline accepts it.
    """

    tool: str
    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    level: str = "error"
    state: str = "new"

    def __post_init__(self) -> None:
        """Refuse wrong types, places and words: the reader builds these from untrusted files."""
        texts = (self.tool, self.code, self.message, self.path, self.level, self.state)
        numbers = (self.line, self.column)
        if not all(isinstance(item, str) for item in texts) or not all(
            isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in numbers
        ):
            raise ResultError(f"diagnostic {self.code!r}: a field has the wrong type")
        if self.level not in LEVELS or self.state not in STATES:
            raise ResultError(f"diagnostic {self.code!r}: {self.level!r}, {self.state!r}")
