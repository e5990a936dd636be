"""Run one task of one framework inside its venv: `python -m ... NAME TASK JOB`.

The venv holds the framework and nothing of this project but its source on the path, so
this file and what it imports are standard library until the framework's file runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlx_preflight.frameworks import framework

TASKS = ("train", "answers", "qlora", "probe")


def main(arguments: list[str]) -> int:
    """Read the job, run the task, write the answer."""
    name, task, file = arguments
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}")
    job = json.loads(Path(file).read_text(encoding="utf-8"))
    answer = getattr(framework.find(name), task)(job)
    Path(job["answer"]).write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
