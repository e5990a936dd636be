"""All cases, or those of some sessions, and the kills: planted, judged, and counted."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.plan import register
from mlx_preflight.selftest.injection import bases, catalogue, figures, kills, pool
from mlx_preflight.selftest.injection.case import Case

LIMIT_BYTES = 20_000_000
"""Size of a result; each case takes about 400 bytes."""


def chosen(sessions: Sequence[str] = ()) -> tuple[Case, ...]:
    """Return the cases of some sessions, or all.

    Args:
        sessions: Ids of sessions or checks; none chooses all.

    Raises:
        UsageError: Nothing has such an id.
    """
    ids = [register.find_session(name)[0].id for name in sessions]
    return tuple(case for name in ids or [""] for case in catalogue.cases(name))


def run(
    cases: Sequence[Case],
    *,
    count: int = 0,
    workers: int = 0,
    note: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Plant and judge cases, kill small sessions, and return the result as JSON data.

    Args:
        cases: The cases.
        count: Runs that are killed at a random moment.
        workers: Processes side by side; 0 takes one for each CPU.
        note: Shows progress.

    Raises:
        UsageError: The clean samples are not on this machine.
    """
    bases.require_checkout()
    workers = workers or os.cpu_count() or 1
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="preflight-faults-") as folder:
        found = pool.run(cases, Path(folder) / "kept", workers, note)
        killed = kills.run(count, Path(folder) / "kills", workers, note) if count else None
    seconds = time.perf_counter() - begin
    return figures.document(cases, found, seconds, killed)


def write(path: Path, found: dict[str, Any]) -> None:
    """Write a result; what a file that is there says of other sessions stays in it.

    Raises:
        ResultError: The file cannot be read or written.
    """
    if path.exists():
        found = figures.merged(read_json(path, limit_bytes=LIMIT_BYTES), found)
    write_json(path, found)
