"""Judge that a generated document exists, agrees with its evidence, and is of this model."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.errors import ResultError
from mlx_preflight.json_file import read_json
from mlx_preflight.report import training_documents
from mlx_preflight.report.training_documents import Document
from mlx_preflight.result import Evidence, Measurement, Outcome, Status

REMEDY = "run `mlx-preflight document` after the session, and commit what it wrote"


def judge(document: Document, project: Path, fingerprint: str) -> Outcome:
    """Pass when document and evidence agree and hold for the files that were judged.

    Args:
        document: Which one.
        project: Root of the project.
        fingerprint: Digest over the model's files in this run; empty without a model.
    """
    name = f"docs/training/{document.name}"
    try:
        difference = training_documents.disagreement(document, project)
        evidence = read_json(document.evidence(project))
    except ResultError as error:
        return Outcome(Status.FAIL, str(error), Evidence.STATIC, remedy=REMEDY)
    if difference:
        reason = f"document and evidence disagree: {difference}"
        return Outcome(Status.FAIL, reason, Evidence.STATIC, remedy=REMEDY)
    model = evidence["model"]
    if not fingerprint:
        reason = f"{name} is about files {model['fingerprint'][:12]}, and no model is here"
        return Outcome(Status.BLOCKED, reason, Evidence.STATIC, remedy=REMEDY)
    if model["fingerprint"] != fingerprint:
        reason = (
            f"{name} is about files {model['fingerprint'][:12]}, "
            f"this run about {fingerprint[:12]}"
        )
        return Outcome(Status.FAIL, reason, Evidence.STATIC, remedy=REMEDY)
    return Outcome(
        Status.PASS,
        f"{name} agrees with its evidence of {evidence['date']}, for the same model files",
        Evidence.STATIC,
        (Measurement("evidence_date", evidence["date"], "text"),),
    )
