"""Say how far a comparison is: what is finished, what failed and why, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlx_preflight.errors import ResultError
from mlx_preflight.frameworks import framework, measure, record, scoring
from mlx_preflight.frameworks.record import Record
from mlx_preflight.result import Status


def look(state: Path) -> list[dict[str, Any]]:
    """Return one row per framework.

    Args:
        state: The project's `.preflight` folder.
    """
    return [_row(state, name) for name in framework.names()]


def complete(rows: list[dict[str, Any]]) -> bool:
    """Tell whether every framework was measured with today's inputs."""
    return all(row["status"] == Status.PASS for row in rows)


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows for a terminal, and what to do next."""
    for row in rows:
        yield f"{row['framework']:<10} {row['status']:<8} {row['reason']}"
    yield "next: mlx-preflight evaluation" if complete(rows) else "next: nox -s compare"


def _row(state: Path, name: str) -> dict[str, Any]:
    try:
        found = record.read(state, name)
    except ResultError as error:
        return {"framework": name, "status": Status.ERROR.value, "reason": str(error)}
    if found is None:
        return {"framework": name, "status": "MISSING", "reason": "not measured yet"}
    order = measure.Order(Path(), Path())
    if found.status is Status.PASS and found.inputs != measure.digest(framework.find(name), order):
        reason = f"measured on {found.date[:10]} with other inputs"
        return {"framework": name, "status": "STALE", "reason": reason}
    reason = _figures(found) if found.status is Status.PASS else found.reason
    return {"framework": name, "status": found.status.value, "reason": reason}


def _figures(found: Record) -> str:
    return (
        f"{found.date[:10]}, {scoring.speed(found.figures):.0f} tokens/s, "
        f"{scoring.memory(found.figures) / 1e6:.0f} MB, {found.duration_s:.0f} s"
    )
