"""Facts of the session run4-data, and how places in the data become an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import BlockedError, DataError, PreflightError
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.plan import register
from mlx_preflight.training import data_findings, row_lengths
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.rows import Place, Rows
from mlx_preflight.training.training_run import TrainingRun


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Facts of the session.

    Attributes:
        project: Folder that paths of findings are relative to.
        rows: The rows, or why they could not be read.
        batches: The batches, or why they are unknown.
    """

    project: Path
    run: TrainingRun
    rows: Rows | PreflightError
    batches: Batches | PreflightError

    @property
    def limit(self) -> int:
        """Return max_seq_length."""
        return int(self.run.settings["max_seq_length"])

    @property
    def batch_size(self) -> int:
        """Return the rows of a batch, all processes together."""
        return int(self.run.settings["batch_size"])

    def read(self) -> Rows:
        """Return the rows.

        Raises:
            BlockedError: The files could not be read.
        """
        if isinstance(self.rows, DataError):
            raise BlockedError(
                "the rows could not be read", hint=f"see {register.RUN4_1}: {self.rows.hint}"
            )
        if isinstance(self.rows, PreflightError):
            raise self.rows
        return self.rows

    def tokenized(self) -> Rows:
        """Return the rows, some of which have tokens in each file that the run tokenizes.

        Raises:
            BlockedError: There are none, or the tokenization was given up.
        """
        found = self.read()
        splits = [split for name in found.tokenized if (split := found.splits.get(name))]
        whole = all(row_lengths.known(split.tokens) for split in splits)
        if not splits or not whole or found.count("slow", "memory"):
            raise BlockedError(
                "no row was tokenized", hint=f"see {register.RUN4_1} to {register.RUN4_4}"
            )
        return found

    def replayed(self) -> Batches:
        """Return the batches.

        Raises:
            BlockedError: They are unknown.
        """
        self.read()
        if isinstance(self.batches, PreflightError):
            raise self.batches
        return self.batches


def judged(
    facts: DataFacts, check: str, places: Sequence[Place], total: int, passed: str, **more: Any
) -> Outcome:
    """Return FAIL with the places, or PASS with the words for none."""
    if not places:
        return Outcome(Status.PASS, passed, **more)
    return Outcome(
        Status.FAIL,
        data_findings.reason(places, total) + _ending(facts, places),
        remedy=data_findings.remedy(places),
        diagnostics=data_findings.diagnostics(places, facts.read(), check, facts.project),
        **more,
    )


def _ending(facts: DataFacts, places: Sequence[Place]) -> str:
    """Return when one of the places ends the run; empty where none does."""
    failure = facts.batches.failure if isinstance(facts.batches, Batches) else None
    if failure is None or not any(
        (failure.split, failure.line) == (p.split, p.line) for p in places
    ):
        return ""
    return f". The training ends at iteration {failure.iteration:,}"


def judged_kinds(
    facts: DataFacts, check: str, kinds: Sequence[str], passed: str, *, tokens: bool = True
) -> Outcome:
    """Judge places of some kinds; without any, rows must have been looked at."""
    found = facts.read()
    if tokens and not found.count(*kinds):
        facts.tokenized()
    return judged(facts, check, found.of(*kinds), found.count(*kinds), passed)
