"""Draw the predicted training peak against row length, checkpointing off and on.

`python3 scripts/training/memory_curve.py` writes docs/training/memory_curve.svg and the
figures in it as memory_curve.json. Nothing is run: the figures are simulated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from mlx_preflight.core import environment
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory import plot, predict
from mlx_preflight.memory.settings import WORKING_SETS, Settings
from mlx_preflight.models import source

LENGTHS = (256, 512, 1024, 1536, 2048, 3072, 4096)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "training"


def main() -> int:
    """Predict every point, draw, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="qwen2.5-coder-7b")
    parser.add_argument("--backend", default="metal", choices=("metal", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=DOCS / "memory_curve.svg")
    options = parser.parse_args()
    try:
        found = source.find(options.model)
        peaks: dict[str, list[predict.Prediction]] = {}
        for checkpointed in (False, True):
            name = f"checkpointing {'on' if checkpointed else 'off'}"
            peaks[name] = []
            for length in LENGTHS:
                settings = Settings(
                    batch_size=1,
                    max_seq_length=length,
                    grad_checkpoint=checkpointed,
                    backend=options.backend,
                )
                peaks[name].append(predict.predict(found.config, settings))
                print(f"{name}, {length} tokens", file=sys.stderr)
        limits = {
            "16 GB budget": 16e9,
            "working set of a 16 GB Mac": float(WORKING_SETS[16]),
        }
        title = f"{found.name}: 4 bit, batch 1, 16 layers, rank 8, {options.backend}, simulated"
        plot.curve(LENGTHS, peaks, limits, options.out, title)
    except PreflightError as error:
        print(f"{error}\n{error.hint}".strip(), file=sys.stderr)
        return error.exit_code
    document = {
        "model": found.name,
        "backend": options.backend,
        "evidence": "simulated",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "row_tokens": LENGTHS,
        "peaks": {
            name: [
                {
                    "peak_bytes": item.peak_bytes,
                    "low_bytes": item.peak_low_bytes,
                    "high_bytes": item.peak_high_bytes,
                }
                for item in items
            ]
            for name, items in peaks.items()
        },
        "packages": environment.capture()["packages"],
    }
    text = json.dumps(document, sort_keys=True, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
