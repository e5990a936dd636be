"""Child that loads, asks or trains one model: `python -m … JOB ANSWER`.

It imports mlx, which the process that starts it never does. A process per measurement keeps
peaks apart, survives an out-of-memory kill, and confines what importing mlx_lm does to the
process (it lowers the open-file limit). The answer goes into a file, because libraries
print to stdout.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from mlx_preflight.core.child_main import run_job
from mlx_preflight.runtime import loaded

TASKS = {
    "load": "inspection",
    "generate": "generation",
    "train": "training",
}
"""Task → module with `run(model, request)`. They import mlx, hence after it was timed."""


def carry_out(request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one request and return its answer as JSON data.

    Args:
        request: `task` (`import` or a key of `TASKS`), `path` of the model, and what the
            task's module asks for.
    """
    if request["task"] == "import":
        import_s = loaded.import_framework()
        found = importlib.import_module("mlx_preflight.runtime.inspection").framework()
        return {"import_s": import_s, **found}
    # Training quantizes before anything is evaluated, so that 16-bit weights never coexist.
    model = loaded.load_model(request["path"], lazy=request["task"] == "train")
    module = importlib.import_module(f"mlx_preflight.runtime.{TASKS[request['task']]}")
    return dataclasses.asdict(module.run(model, request))


if __name__ == "__main__":
    sys.exit(run_job(carry_out, sys.argv[1:]))
