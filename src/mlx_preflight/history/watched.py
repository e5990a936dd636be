"""Record of a watched training run in the run history, beside those of judged runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.history import records
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.history.record_form import Record

CHECK = "watch"
"""Name of the one check of such a run: it came to its end, and its loss stayed a number."""

GROUP = "watch"


def remember(project: Path, document: Mapping[str, Any]) -> None:
    """Append the record of a watched run to a project's history.

    Args:
        project: Folder where the run was started.
        document: Its record, as `training.watch.record.document` makes it.

    Raises:
        ResultError: The history cannot be written.
    """
    manager = MemoryManager(Workspace.of(project).history)
    manager.add([from_document(document)])


def from_document(document: Mapping[str, Any]) -> Record:
    """Return the record of a run that was watched.

    Raises:
        ResultError: The document lacks what a record needs.
    """
    return records.from_report(
        {
            "run_id": document["run_id"],
            "started": document["started"],
            "group": GROUP,
            "profile": GROUP,
            "model": {"requested": document["model"]},
            "tool": document["tool"],
            "verdict": _verdict(document["true"]),
            "status": _status(document["true"]).value,
            "holds_for": document["model"],
            "environment": document["environment"],
            "git": {},
            "rows": [_row(document)],
        },
        {name: value for name, value in document["settings"].items() if value is not None},
    )


def _status(true: Mapping[str, Any]) -> Status:
    return Status.PASS if true["finished"] and not true["nan"] else Status.FAIL


def _verdict(true: Mapping[str, Any]) -> str:
    if true["stopped"]:
        return "stopped"
    return "finished" if _status(true) is Status.PASS else "failed"


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    true = document["true"]
    words = [true["stopped"], *document["warnings"]]
    reason = "; ".join(word for word in words if word) or f"exit code {true['exit_code']}"
    measured = {
        "duration_s": true["duration_s"],
        "iterations": true["iterations"],
        "step_s": true["step_s"],
        "process_peak_bytes": true["process_peak_bytes"],
        "mlx_peak_bytes": true["mlx_peak_bytes"],
        "exit_code": true["exit_code"],
        **{f"predicted_{name}": value for name, value in document["predicted"].items()},
    }
    return {
        "id": CHECK,
        "status": _status(true).value,
        "session": GROUP,
        "title": "the run came to its end, and its loss stayed a number",
        "evidence": Evidence.TARGET.value,
        "reason": reason,
        "remedy": "",
        "required": True,
        "measurements": [
            {"name": name, "value": value} for name, value in measured.items() if value is not None
        ],
    }
