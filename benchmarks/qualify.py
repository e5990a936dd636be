"""Measure how long `mlx-preflight qualify` takes; prints JSON.

`python benchmarks/qualify.py [--repeats N]` judges three runs in empty folders, each twice: the
embedded model on the embedded rows, a run of Qwen2.5-Coder-7B with 5,000 chat rows and no weights
(the tokenizer is the embedded one: only its speed is another), and the same rows with a mask. The
second look at unchanged rows reads the cache.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from training_data import written

from mlx_preflight.core.environment import capture
from mlx_preflight.models import catalog

ROWS = 5_000
RUN = ("--data", "data", "--batch-size", "2", "--max-seq-length", "1024")
NAME = "qwen2.5-coder-7b"


def main() -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    runs = {
        "embedded": (),
        "7B, 5,000 rows": ("--model", "model", *RUN),
        "7B, 5,000 rows, mask": ("--model", "model", *RUN, "--mask-prompt"),
    }
    found = {name: _measured(arguments, repeats) for name, arguments in runs.items()}
    print(json.dumps({"runs": found, "repeats": repeats, "environment": capture()}, indent=1))
    return 0


def _measured(arguments: tuple[str, ...], repeats: int) -> dict[str, Any]:
    looks: dict[str, list[float]] = {"first_s": [], "second_s": []}
    counts: dict[str, int] = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if arguments:
                written(folder / "data", ROWS)
                _model(folder / "model")
            for times in looks.values():
                seconds, counts = _qualify(folder, arguments)
                times.append(seconds)
    medians = {name: statistics.median(times) for name, times in looks.items()}
    return {**medians, "samples": looks, "checks": counts}


def _model(folder: Path) -> None:
    """Make a model folder without weights: a real config beside the embedded tokenizer."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(catalog.EMBEDDED_FOLDER / name, folder / name)
    known = next(item for item in catalog.models() if item.name == NAME)
    (folder / "config.json").write_text(json.dumps(known.config))


def _qualify(folder: Path, arguments: tuple[str, ...]) -> tuple[float, dict[str, int]]:
    command = [sys.executable, "-m", "mlx_preflight", "qualify", "--json", *arguments]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    counts: dict[str, int] = json.loads(done.stdout)["report"]["counts"]
    return seconds, counts


if __name__ == "__main__":
    sys.exit(main())
