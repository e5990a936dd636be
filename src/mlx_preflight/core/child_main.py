"""The child's half of `child.call`: read the job file, do the task, write the answer file.

Standard library only: it also runs in the venvs of other frameworks, and a child that times
its imports must not have made them here.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.core.json_file import read_json, write_json

OVER_LIMIT = 86
"""Exit code of a child that used more memory than it was allowed."""

RANK_VARIABLE = "MLX_RANK"
"""Where mlx.launch (0.32) tells a process its number."""


def answer_of(answer: Path, rank: int) -> Path:
    """Return where a process writes its answer, of several that share one job."""
    return answer.with_suffix(f".{rank}{answer.suffix}")


def run_job(task: Callable[[dict[str, Any]], Any], arguments: Sequence[str]) -> int:
    """Run the task on a job file, write its value or its error, and return the exit code.

    Args:
        task: Takes the job, returns JSON data.
        arguments: Paths of the job file and of the answer file.
    """
    job, answer = map(Path, arguments)
    if RANK_VARIABLE in os.environ:
        answer = answer_of(answer, int(os.environ[RANK_VARIABLE]))
    try:
        # Last, and by the child itself: an early exit with code 0 leaves no success behind.
        write_json(answer, {"ok": True, "value": task(read_json(job))})
    except Exception as error:  # noqa: BLE001  (the parent turns it into a visible result)
        traceback.print_exc()
        write_json(answer, {"ok": False, "error": type(error).__name__, "message": str(error)})
        return 1
    return 0


def peak_rss_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS (getrusage(2) of each).
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
