"""Measure how long the rows of a training run take to read; prints JSON.

`python benchmarks/training_data.py [ROWS]` writes chat rows of about 200 tokens (10,000 unless
another number is given) for the embedded model's tokenizer, and reports seconds and peak resident
memory of the first look, with and without a mask, and of a second look at unchanged files.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlx_preflight.core.environment import capture
from mlx_preflight.models import catalog
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import batches
from mlx_preflight.training.rows import read_rows
from mlx_preflight.training.training_run import read_run

ROWS = 10_000

WORDS = ("model", "run", "judged", "before", "starts", "every", "row", "tokens", "width", "count")


def main() -> int:
    """Print one JSON document."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as scratch:
        folder = written(Path(scratch) / "data", count)
        looks = [_look(Path(scratch), folder, mask) for mask in (False, True)]
    print(json.dumps({"rows": count, "looks": looks, "environment": capture()}, indent=1))
    return 0


def written(folder: Path, count: int) -> Path:
    """Write chat rows of about 200 tokens, and return their folder."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for name, rows in (("train", count), ("valid", max(count // 20, 4))):
        with (folder / f"{name}.jsonl").open("w") as stream:
            for number in range(rows):
                text = [" ".join(draw.choice(WORDS, draw.integers(20, 60))) for _ in range(2)]
                turns = [
                    {"role": "user", "content": f"{number} {text[0]}"},
                    {"role": "assistant", "content": text[1]},
                ]
                stream.write(json.dumps({"messages": turns}) + "\n")
    return folder


def _look(project: Path, folder: Path, mask: bool) -> dict[str, Any]:
    model = str(catalog.EMBEDDED_FOLDER)
    arguments = ["--train", "--model", model, "--data", str(folder)]
    request = TrainingRequest((*arguments, *(("--mask-prompt",) if mask else ())))
    context = Context.of(project, ProjectSettings(), training=request, note=lambda _line: None)
    run = read_run(context)
    begin, before = time.perf_counter(), os.times()
    found = read_rows(context, run, catalog.EMBEDDED_FOLDER)
    first_s, after = time.perf_counter() - begin, os.times()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    begin = time.perf_counter()
    again = read_rows(context, run, catalog.EMBEDDED_FOLDER)
    second_s = time.perf_counter() - begin
    begin = time.perf_counter()
    made = batches.of_run(run, found)
    tokens = sum(found.splits["train"].tokens)
    return {
        "mask_prompt": mask,
        "tokens_per_row": tokens / len(found.splits["train"]),
        "first_s": first_s,
        "first_cpu_s": after.children_user - before.children_user,
        "second_s": second_s,
        "second_cached": again.cached,
        "peak_rss_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "batches_s": time.perf_counter() - begin,
        "iterations": len(made.widths),
        "load_average": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
