"""Finding of a diagnosis, and its severity."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NoReturn


class Severity(enum.StrEnum):
    """Severity of a finding; it has no truth value."""

    GOOD = "good"
    NOTE = "note"
    PROBLEM = "problem"
    UNKNOWN = "unknown"

    def __bool__(self) -> NoReturn:
        """Refuse truth testing: unknown is neither good nor bad."""
        raise TypeError("a Severity has no truth value: compare it")


@dataclass(frozen=True, slots=True)
class Finding:
    """Observation, why it matters, and the command that fixes it.

    Attributes:
        topic: Which troubleshooting entry it belongs to: download, memory, import, answers
            or machine.
        fix: Command or step; empty only for a `GOOD` finding.
    """

    topic: str
    severity: Severity
    saw: str
    why: str
    fix: str = ""
