"""Outcomes of the checks on a document; all of them are static evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_percent
from mlx_preflight.criteria.markdown.document import Document, read_document
from mlx_preflight.criteria.markdown.prose import prose_problem, repeated_sentences

Found = Document | str
"""A document, or why there is none to judge."""

MAX_REPEATED = 0.1
"""Largest share of sentences in a document that may repeat an earlier one."""


def load_document(path: Path) -> Found:
    """Return the parsed document, or the sentence that says why it cannot be judged."""
    try:
        return read_document(path)
    except PreflightError as error:
        return str(error)


def judge(found: Found, check: Callable[[Document], Outcome]) -> Outcome:
    """Run a check on a document; a missing document is an error, never a pass."""
    if isinstance(found, str):
        return Outcome(Status.ERROR, found, Evidence.STATIC)
    return check(found)


def exists(found: Found, least_words: int) -> Outcome:
    """Judge whether a document exists and is prose; here its absence is a failure."""
    if isinstance(found, str):
        return failed(found)
    text = found.root.prose
    problem = prose_problem(text, least_words)
    if not problem and (share := repeated_sentences(text)) > MAX_REPEATED:
        problem = f"{format_percent(100 * share)} of its sentences repeat an earlier one"
    if problem:
        return failed(f"{found.path.name}: {problem}")
    return passed(f"{found.path.name} has {len(found.sections())} sections of prose")


def passed(reason: str, **counts: int) -> Outcome:
    """Return a pass with what was counted."""
    return Outcome(Status.PASS, reason, Evidence.STATIC, _measured(counts))


def failed(reason: str, remedy: str = "", **counts: int) -> Outcome:
    """Return a failure with what was counted."""
    return Outcome(Status.FAIL, reason, Evidence.STATIC, _measured(counts), remedy)


def _measured(counts: dict[str, int]) -> tuple[Measurement, ...]:
    return tuple(Measurement(name, value, "count") for name, value in counts.items())
