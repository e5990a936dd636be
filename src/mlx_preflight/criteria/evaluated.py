"""Hold what AC1 and AC2 judge: the evaluation as a document, and as a rendering of evidence."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.criteria.judging import Found, failed, look, passed
from mlx_preflight.errors import PreflightError, ResultError
from mlx_preflight.frameworks import evidence as kept
from mlx_preflight.frameworks import parity, scoring
from mlx_preflight.frameworks.framework import REFERENCE
from mlx_preflight.project_table import load_settings
from mlx_preflight.report import evaluation
from mlx_preflight.result import Outcome

RENDER = "mlx-preflight evaluation --render"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Hold the evaluation of a project.

    Attributes:
        document: The parsed report, or why there is none.
        project: Root of the project, for its evidence.
    """

    document: Found
    project: Path


def gather(project: Path) -> Evaluated:
    """Parse a project's evaluation."""
    return Evaluated(look(project / evaluation.FOLDER / evaluation.NAME), project)


def evidence(project: Path, today: dt.date | None = None) -> Outcome:
    """Judge that every figure of the report stands in evidence that still counts.

    Args:
        project: Root of the project.
        today: Date to count the age from; None takes the current one, UTC.
    """
    try:
        data = kept.load(project)
        oldest = load_settings(project).selection.max_evidence_age_days
        day = today or dt.datetime.now(dt.UTC).date()
        reasons = [kept.stale(item, day, oldest) for item in data.values()]
        if reason := next(filter(None, [*reasons, kept.other_machine(data)]), ""):
            return failed(reason, kept.REFRESH)
        for name, item in data.items():
            finding = parity.explain(name, item, data[REFERENCE])
            if not finding.holds:
                return failed(f"{name} trains on something else: {finding.text}", kept.REFRESH)
        if difference := evaluation.disagreement(project):
            return failed(f"report and evidence disagree: {difference}", RENDER)
        if numbers := evaluation.uncited(project):
            reason = f"no evidence and no cited source holds {', '.join(numbers[:8])}"
            return failed(reason, f"cite it in {evaluation.CITED}, or measure it")
    except ResultError as error:
        return failed(str(error), error.hint or kept.REFRESH)
    dates = sorted(str(item["date"])[:10] for item in data.values())
    return passed(f"every figure stands in evidence of {dates[0]} to {dates[-1]}, or is cited")


def selection(project: Path, stated: str) -> Outcome:
    """Judge that the framework which the report selects is the one that the scores give.

    Args:
        project: Root of the project.
        stated: Framework that the decision names; empty when it names none.
    """
    try:
        data = kept.load(project)
        weights = load_settings(project).selection.weights
        sums = scoring.totals(scoring.scores(data), weights)
    except PreflightError as error:
        return failed(str(error), error.hint or kept.REFRESH)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        return failed(f"the evidence is incomplete: {error!r}", kept.REFRESH)
    winner = str(data[next(iter(sums))]["title"])
    ranking = ", ".join(f"{data[name]['title']} {total:.3f}" for name, total in sums.items())
    if stated != winner:
        return failed(f"{stated or 'nothing'} is selected, the scores give {winner}: {ranking}")
    return passed(f"{winner} is selected and scores highest: {ranking}")
