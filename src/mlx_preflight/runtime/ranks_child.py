"""Child that runs another child in several processes of `mlx.launch`: `python -m … JOB ANSWER`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx._distributed_utils import launch

from mlx_preflight.core.child_main import answer_of, run_job
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json

BACKEND = "ring"
"""Backend of MLX that needs nothing but sockets."""


def launched(job: Mapping[str, Any]) -> list[Any]:
    """Run a module in every rank, and return their answers, by rank.

    Args:
        job: `module`, whose `main` is `child_main.run_job`, `ranks` and the `job` for each.

    Returns:
        What each wrote (`child_main.run_job`); None of one that was killed before it could.
    """
    question, answer = Path("rank-job.json").absolute(), Path("rank-answer.json").absolute()
    write_json(question, job["job"])
    _hold_stdin()
    arguments = ["-n", str(job["ranks"]), "--backend", BACKEND, "--starting-port", _free_port()]
    program = [sys.executable, "-m", str(job["module"]), str(question), str(answer)]
    sys.argv = ["mlx.launch", *arguments, "--", *program]
    launch.main()
    return [_written(answer_of(answer, rank)) for rank in range(job["ranks"])]


def _written(path: Path) -> Any:
    try:
        return read_json(path)
    except ResultError:
        return None


def _hold_stdin() -> None:
    """Read from a pipe that nobody writes: at its end, mlx.launch (0.32) asks without a pause."""
    read, _ = os.pipe()
    os.dup2(read, sys.stdin.fileno())


def _free_port() -> str:
    """Return a port behind which others are free, too, most likely."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(min(found.getsockname()[1], 65000))


if __name__ == "__main__":
    sys.exit(run_job(launched, sys.argv[1:]))
