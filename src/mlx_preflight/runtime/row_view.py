"""Child that shows rows as the trainer sees them: `python -m … JOB ANSWER`.

The only place that returns content; whoever calls it prints it on a terminal, and keeps nothing.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mlx_lm.tuner.datasets import create_dataset
from mlx_lm.utils import load_config, load_tokenizer

from mlx_preflight.core.child_main import run_job
from mlx_preflight.runtime import data_file, row_limits

MAX_CHARS = 20_000
"""Characters of a piece that are shown."""


def view(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the first rows in pieces: before the mask's end, trained, and cut.

    Args:
        job: `path` of the file, `count`, `model`, `data`, `limit`, `row_s` and `memory_bytes`.
    """
    folder = Path(job["model"])
    ends = load_config(folder).get("eos_token_id")
    tokenizer = load_tokenizer(folder, {"trust_remote_code": False}, eos_token_ids=ends)
    with data_file.open_regular(Path(job["path"])) as stream:
        lines = [line.decode() for line in islice(stream, job["count"])]
    rows = [json.loads(line) for line in lines]
    with row_limits.memory(job["memory_bytes"]), row_limits.seconds(job["row_s"]):
        dataset = create_dataset(rows, tokenizer, types.SimpleNamespace(**job["data"]))
        return [
            {"line": line, **_pieces(tokenizer, dataset.process(row), job["limit"])}
            for line, row in enumerate(rows, 1)
        ]


def _pieces(tokenizer: Any, row: tuple[list[int], int], limit: int) -> dict[str, Any]:
    tokens, offset = row
    # The trainer never counts the first token: no position predicts it.
    start = min(max(offset, 1), limit)
    parts = {"masked": tokens[:start], "trained": tokens[start:limit], "cut": tokens[limit:]}
    texts = {name: tokenizer.decode(part)[:MAX_CHARS] for name, part in parts.items()}
    return {"pieces": texts, "tokens": {name: len(part) for name, part in parts.items()}}


if __name__ == "__main__":
    sys.exit(run_job(view, sys.argv[1:]))
