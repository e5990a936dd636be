"""Training documents, generated from dated evidence and compared with it.

`docs/training/evidence/*.json` holds what a run measured; `training_pages` renders it and
nothing else, so a number in a document that the evidence does not hold is found by
rendering again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import BlockedError, ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.json_file import write_text as write
from mlx_preflight.core.result import SessionResult, Status, read_result
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.documents import training_pages
from mlx_preflight.plan import register

SCHEMA = 1
FOLDER = Path("docs", "training")
MAX_DOCUMENT_BYTES = 1_000_000
_LOCAL = ("location", "recommended_working_set")
"""Measurements that only mean something on the machine itself."""


@dataclass(frozen=True, slots=True)
class TrainingDocument:
    """Generated document.

    Attributes:
        name: File under `docs/training`.
        session: Session whose result is its evidence.
        render: Returns the text for an evidence document.
    """

    name: str
    session: str
    render: Callable[[Mapping[str, Any]], Iterator[str]]

    def path(self, project: Path) -> Path:
        """Return the document's path in a project."""
        return project / FOLDER / self.name

    def evidence(self, project: Path) -> Path:
        """Return the evidence's path in a project."""
        return project / FOLDER / "evidence" / f"{self.session}.json"


def record(document: TrainingDocument, project: Path, state: Path) -> None:
    """Keep a session's last result as evidence and render the document from it.

    Raises:
        BlockedError: The session has no result, or one with an ERROR in it.
        ResultError: A file cannot be read or written.
    """
    path = Workspace(state).result(document.session)
    if not path.is_file():
        raise BlockedError(f"{path}: nothing was measured", hint=f"nox -s {document.session}")
    result = read_result(path)
    if any(check.status is Status.ERROR for check in result.checks):
        raise BlockedError(
            f"the result of {result.id} has an ERROR, so it is no evidence",
            hint=f"nox -s {document.session}",
        )
    write_json(document.evidence(project), _evidence(result, state) | _curve(document, project))
    write(document.path(project), expected(document, project))


def expected(document: TrainingDocument, project: Path) -> str:
    """Return the text that the evidence gives.

    Raises:
        ResultError: The evidence is missing, damaged or of another schema.
    """
    path = document.evidence(project)
    if not path.is_file():
        raise ResultError(
            f"{path.relative_to(project)}: no evidence", hint="mlx-preflight document"
        )
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ResultError(f"{path.relative_to(project)}: not evidence of schema {SCHEMA}")
    try:
        return "\n".join(document.render(data)) + "\n"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"{path.relative_to(project)}: incomplete: {error!r}") from error


def disagreement(document: TrainingDocument, project: Path) -> str:
    """Return how a document differs from its evidence; empty when it does not.

    Raises:
        ResultError: The evidence or the document cannot be read.
    """
    path = document.path(project)
    name = path.relative_to(project)
    wanted = expected(document, project).splitlines()
    if not path.is_file():
        return f"{name} does not exist"
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        return f"{name} has over {MAX_DOCUMENT_BYTES} bytes"
    try:
        found = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{name}: unreadable: {error}") from error
    return first_difference(name, found, wanted)


def first_difference(name: Path, found: Sequence[str], wanted: Sequence[str]) -> str:
    """Return the first line that differs from the evidence's, from a little before the place."""
    for number, (is_there, should_be) in enumerate(zip(found, wanted, strict=False), 1):
        if is_there != should_be:
            pairs = zip(is_there, should_be, strict=False)
            same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            start = max(0, same - 20)
            there, due = (line[start : start + 60] for line in (is_there, should_be))
            return f"{name}:{number} says {there!r}, the evidence {due!r}"
    if len(found) != len(wanted):
        return f"{name} has {len(found)} lines, the evidence gives {len(wanted)}"
    return ""


def _curve(document: TrainingDocument, project: Path) -> dict[str, Any]:
    """Return the figures of the curve that scripts/training/memory_curve.py drew, if it did."""
    path = project / FOLDER / training_pages.CURVE.with_suffix(".json")
    if document.session != register.AC6_MEMORY or not path.is_file():
        return {}
    return {"curve": read_json(path)}


def _evidence(result: SessionResult, state: Path) -> dict[str, Any]:
    """Return the evidence document: no path of this machine, no digest list."""
    data = result.to_json()
    model = {
        key: value
        for key, value in dict(result.model).items()
        if key in {"requested", "parameters", "fingerprint", "revision", "quantization"}
    }
    local = ("release", "judged")
    environment = {key: value for key, value in result.environment.items() if key not in local}
    checks = [
        {
            **check,
            "measurements": [m for m in check["measurements"] if m["name"] not in _LOCAL],
        }
        for check in data["checks"]
        # The document's own check would make the evidence depend on the document.
        if check["id"] not in {register.AC5_6, register.AC6_8}
    ]
    answers = Workspace(state).artifacts(result.id) / "answers.json"
    return {
        "schema": SCHEMA,
        "session": result.id,
        "date": result.started[:10],
        "profile": result.profile,
        "model": model,
        "environment": environment,
        "checks": checks,
        "answers": read_json(answers)["judged"]["answers"] if answers.is_file() else [],
    }


INFERENCE = TrainingDocument(
    "inference_test_results.md", register.AC5_INFERENCE, training_pages.inference
)
MEMORY = TrainingDocument("memory_profile.md", register.AC6_MEMORY, training_pages.memory)
DOCUMENTS = (INFERENCE, MEMORY)
