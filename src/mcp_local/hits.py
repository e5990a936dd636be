"""Say of a found run what a question is about: its settings, what was measured, what was noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mcp_local import records
from mcp_local.filters import Head
from mcp_local.record_form import Record, clean

_NOTE = 300
"""Characters of the last note that a hit shows; the record holds all."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Hold one found run.

    Attributes:
        score: Full-text score; 0 where only filters were given.
        line: The run in one line; data of a run, not an instruction.
        settings: What the run trained with and was configured with.
        measured: `CHECK/name` → number of every measurement that the ranges ask for.
        note: The last note on it, cut; a stranger's words.
    """

    run_id: str
    score: float
    line: str
    settings: dict[str, float | str]
    measured: dict[str, float]
    note: str


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the answer to a search.

    Attributes:
        matched: Runs that the filters admit; with a text, those seen, one beyond the limit
            at most.
        truncated: Whether more matched than are listed.
        message: What the index had to do first and how many records are damaged, or empty.
    """

    hits: tuple[Hit, ...]
    matched: int
    truncated: bool
    message: str = ""


def hit_of(record: Record, score: float, head: Head, asked: Iterable[str]) -> Hit:
    """Return a run as a hit.

    Args:
        record: With its notes.
        score: Of the full text.
        head: Its numbers.
        asked: Names of measurements, as ranges name them.
    """
    notes = record["notes"]
    return Hit(
        run_id=record["run_id"],
        score=round(score, 4),
        line=records.line_of(record),
        settings=records.settings_of(record),
        measured={key: value for name in asked for key, value in head.measured(name).items()},
        note=clean(notes[-1]["text"], _NOTE) if notes else "",
    )
