"""Check of generated documents: each exists, agrees with its evidence, and is of this model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.documents import training_documents
from mlx_preflight.documents.training_documents import TrainingDocument

REMEDY = "run `mlx-preflight document` after the session, and commit what it wrote"


@dataclass(frozen=True, slots=True)
class DocumentCheck:
    """Comparison of a document with its evidence.

    Attributes:
        name: The document, relative to the project.
        problem: How they disagree, or why they cannot be compared; empty where they agree.
        fingerprint: Digest over the model's files that the evidence is about.
        date: Day of the evidence.
    """

    name: str
    problem: str = ""
    fingerprint: str = ""
    date: str = ""


def compare(document: TrainingDocument, project: Path) -> DocumentCheck:
    """Read a document and its evidence, and compare them."""
    name = f"docs/training/{document.name}"
    try:
        difference = training_documents.disagreement(document, project)
        evidence = read_json(document.evidence(project))
        found = DocumentCheck(
            name, "", str(evidence["model"]["fingerprint"]), str(evidence["date"])
        )
    except ResultError as error:
        return DocumentCheck(name, str(error))
    except (KeyError, TypeError) as error:
        return DocumentCheck(name, f"the evidence of {name} is incomplete: {error!r}")
    if difference:
        return DocumentCheck(name, f"document and evidence disagree: {difference}")
    return found


def judge(found: DocumentCheck, fingerprint: str) -> Outcome:
    """Pass when document and evidence agree and hold for the files that were judged."""
    about = f"{found.name} is about files {found.fingerprint[:12]}"
    status, reason = Status.FAIL, found.problem
    if not reason and not fingerprint:
        status, reason = Status.BLOCKED, f"{about}, and no model is here"
    elif not reason and found.fingerprint != fingerprint:
        reason = f"{about}, this run about {fingerprint[:12]}"
    if reason:
        return Outcome(status, reason, Evidence.STATIC, remedy=REMEDY)
    return Outcome(
        Status.PASS,
        f"{found.name} agrees with its evidence of {found.date}, for the same model files",
        Evidence.STATIC,
        (Measurement("evidence_date", found.date, "text"),),
    )
