"""Load, ask or train a model in a process of its own: `python -m … REQUEST ANSWER`.

The only process of this package that imports mlx. A process per measurement keeps peaks
apart, survives an out-of-memory kill, and confines what importing mlx_lm does to the
process (it lowers the open-file limit). The answer goes into a file, because libraries
print to stdout.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.json_file import write_json
from mlx_preflight.model import loaded

TASKS = {
    "load": "examination",
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
        found = importlib.import_module("mlx_preflight.model.examination").framework()
        return {"import_s": import_s, **found}
    # Training quantizes before anything is evaluated, so that 16-bit weights never coexist.
    model = loaded.load_model(request["path"], lazy=request["task"] == "train")
    module = importlib.import_module(f"mlx_preflight.model.{TASKS[request['task']]}")
    return dataclasses.asdict(module.run(model, request))


def main(arguments: list[str]) -> int:
    """Carry out the request in one file and write the answer into another."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    document: dict[str, Any]
    try:
        document = {"ok": True, "value": carry_out(request)}
    except Exception as error:  # noqa: BLE001  (the parent turns it into a visible result)
        traceback.print_exc()
        document = {"ok": False, "error": type(error).__name__, "message": str(error)}
    write_json(Path(arguments[1]), document)
    return 0 if document["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
