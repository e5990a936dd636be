"""One task of one framework inside its venv: `python -m ... JOB ANSWER`.

The venv holds the framework and nothing of this project but its source on the path, so
this file and what it imports are standard library until the framework's file runs.
"""

from __future__ import annotations

import sys
from typing import Any

from mlx_preflight.core.child_main import run_job
from mlx_preflight.frameworks import framework

TASKS = ("train", "answers", "qlora", "probe")


def run(job: dict[str, Any]) -> Any:
    """Run the task that the job names on the framework that it names."""
    if job["task"] not in TASKS:
        raise ValueError(f"unknown task {job['task']!r}")
    return getattr(framework.find(job["framework"]), job["task"])(job)


if __name__ == "__main__":
    sys.exit(run_job(run, sys.argv[1:]))
