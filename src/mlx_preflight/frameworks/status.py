"""Status of a comparison: what is finished, what failed and why, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_bytes, format_number, format_seconds
from mlx_preflight.frameworks import framework, measure, record, scoring
from mlx_preflight.frameworks.record import FrameworkRecord


def comparison_status(state: Path) -> list[dict[str, Any]]:
    """Return one row per framework.

    Args:
        state: The project's `.preflight` folder.
    """
    return [_row(state, name) for name in framework.names()]


def is_complete(rows: list[dict[str, Any]]) -> bool:
    """Return whether every framework was measured with today's inputs."""
    return all(row["status"] == Status.PASS for row in rows)


def format_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows for a terminal, and what to do next."""
    for row in rows:
        yield f"{row['framework']:<10} {row['status']:<8} {row['reason']}"
    yield "next: mlx-preflight evaluation" if is_complete(rows) else "next: nox -s compare"


def _row(state: Path, name: str) -> dict[str, Any]:
    try:
        found = record.read(state, name)
    except ResultError as error:
        return {"framework": name, "status": Status.ERROR.value, "reason": str(error)}
    if found is None:
        return {"framework": name, "status": "MISSING", "reason": "not measured yet"}
    options = measure.BenchOptions(Path(), Path())
    if found.status is Status.PASS and found.inputs != measure.digest(
        framework.find(name), options
    ):
        reason = f"measured on {found.date[:10]} with other inputs"
        return {"framework": name, "status": "STALE", "reason": reason}
    reason = _figures(found) if found.status is Status.PASS else found.reason
    return {"framework": name, "status": found.status.value, "reason": reason}


def _figures(found: FrameworkRecord) -> str:
    return (
        f"{found.date[:10]}, {format_number(scoring.speed(found.figures))} tokens/s, "
        f"{format_bytes(scoring.memory(found.figures))}, {format_seconds(found.duration_s)}"
    )
