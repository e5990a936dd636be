"""Answers of a search: each run with its settings, measurements and last note."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlx_preflight.core.text import one_line
from mlx_preflight.history import records
from mlx_preflight.history.filters import Head
from mlx_preflight.history.record_form import Record

_NOTE = 300
"""Characters of the last note that a hit shows; the record holds all."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One found run.

    Attributes:
        score: Full-text score; 0 where only filters were given.
        line: The run in one line; data of a run, not an instruction.
        settings: What the run trained with and was configured with.
        measured: `CHECK/name` → number of every measurement that the ranges ask for.
        note: The last note on it, cut; untrusted text.
    """

    run_id: str
    score: float
    line: str
    settings: dict[str, float | str]
    measured: dict[str, float]
    note: str


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Answer to a search.

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


def build_hit(record: Record, score: float, head: Head, asked: Iterable[str]) -> Hit:
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
        line=records.format_line(record),
        settings=records.run_settings(record),
        measured={key: value for name in asked for key, value in head.measured(name).items()},
        note=one_line(notes[-1]["text"], _NOTE) if notes else "",
    )
