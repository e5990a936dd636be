"""Subject of AC1 and AC2: the evaluation as a document, and as a rendering of evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import PreflightError, ResultError, or_error
from mlx_preflight.core.result import Outcome
from mlx_preflight.criteria.markdown.document import Document
from mlx_preflight.criteria.markdown.results import Found, failed, judge, load_document, passed
from mlx_preflight.documents import decision, evaluation, training_documents
from mlx_preflight.frameworks import evidence as kept
from mlx_preflight.frameworks import parity, scoring
from mlx_preflight.frameworks.framework import REFERENCE
from mlx_preflight.plan.settings import Selection, load_settings

RENDER = "mlx-preflight evaluation --render"


@dataclass(frozen=True, slots=True)
class EvaluationEvidence:
    """Evaluation of a project, and the evidence beside it.

    Attributes:
        document: The parsed report, or why there is none.
        evidence: Framework → what was measured, or why it cannot be read.
        weights: The project's weights and age limit, or why they cannot be read.
        contradiction: Disagreement of report and evidence, and its remedy; both empty where
            they agree.
        today: Date to count the age from, UTC.
        decision: The decision record that evidence and weights give, or why there is none.
    """

    document: Found
    evidence: Mapping[str, Any] | PreflightError
    weights: Selection | PreflightError
    contradiction: tuple[str, str]
    today: dt.date
    decision: Mapping[str, str] | PreflightError


def gather(project: Path, today: dt.date | None = None) -> EvaluationEvidence:
    """Parse a project's evaluation, read its evidence, and compare them."""
    data = or_error(lambda: kept.load(project))
    weights = or_error(lambda: load_settings(project).selection)
    return EvaluationEvidence(
        load_document(project / training_documents.FOLDER / evaluation.NAME),
        data,
        weights,
        ("", "") if isinstance(data, PreflightError) else _contradiction(project),
        today or dt.datetime.now(dt.UTC).date(),
        or_error(lambda: decision.expected(project)),
    )


def _contradiction(project: Path) -> tuple[str, str]:
    try:
        if difference := evaluation.disagreement(project):
            return f"report and evidence disagree: {difference}", RENDER
        if numbers := evaluation.uncited(project):
            reason = f"no evidence and no cited source holds {', '.join(numbers[:8])}"
            return reason, f"cite it in {evaluation.CITED}, or measure it"
    except ResultError as error:
        return str(error), error.hint or kept.REFRESH
    return "", ""


def of_document(check: Callable[[Document], Outcome]) -> Callable[[EvaluationEvidence], Outcome]:
    """Return the check that judges the report alone."""
    return lambda found: judge(found.document, check)


def judge_evidence(found: EvaluationEvidence) -> Outcome:
    """Judge that every figure of the report is in evidence that still counts."""
    data = found.evidence
    if isinstance(data, PreflightError):
        return failed(str(data), data.hint or kept.REFRESH)
    if isinstance(found.weights, PreflightError):
        raise found.weights
    oldest = found.weights.max_evidence_age_days
    try:
        reasons = [kept.stale(item, found.today, oldest) for item in data.values()]
        if reason := next(filter(None, [*reasons, kept.other_machine(data)]), ""):
            return failed(reason, kept.REFRESH)
        for name, item in data.items():
            finding = parity.explain(name, item, data[REFERENCE])
            if not finding.holds:
                return failed(f"{name} trains on something else: {finding.text}", kept.REFRESH)
    except ResultError as error:
        return failed(str(error), error.hint or kept.REFRESH)
    reason, remedy = found.contradiction
    if reason:
        return failed(reason, remedy)
    dates = sorted(str(item["date"])[:10] for item in data.values())
    return passed(f"every figure is in evidence of {dates[0]} to {dates[-1]}, or is cited")


def judge_selection(found: EvaluationEvidence, stated: str) -> Outcome:
    """Judge that the framework which the report selects is the one that the scores give."""
    data, weights = found.evidence, found.weights
    try:
        if isinstance(data, PreflightError):
            raise data
        if isinstance(weights, PreflightError):
            raise weights
        sums = scoring.totals(scoring.scores(data), weights.weights)
    except PreflightError as error:
        return failed(str(error), error.hint or kept.REFRESH)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        return failed(f"the evidence is incomplete: {error!r}", kept.REFRESH)
    winner = str(data[next(iter(sums))]["title"])
    ranking = scoring.format_ranking(data, sums)
    if stated != winner:
        return failed(f"{stated or 'nothing'} is selected, the scores give {winner}: {ranking}")
    return passed(f"{winner} is selected and scores highest: {ranking}")
