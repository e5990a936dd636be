"""Write the embedded data set: rows of the embedded model's own task, as `mlx_lm.lora` reads them.

`python scripts/training/write_embedded_rows.py` rewrites the files in the package; a test
compares them with what it would write.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import embedded_tasks as tasks

FOLDER = Path(__file__).resolve().parents[2] / "src/mlx_preflight/models/embedded_rows"
SEED = 7
"""Another seed than the model was trained with: the rows are of its task, not its memory."""

COUNTS = {"train": 200, "valid": 40, "test": 20}


def rows() -> dict[str, str]:
    """Return file name → its text; every question is there once in all of the files."""
    pairs = {pair.prompt: pair for pair in tasks.training_pairs(SEED, 0, 4 * sum(COUNTS.values()))}
    chosen = iter(pairs.values())
    return {
        f"{name}.jsonl": "".join(_row(next(chosen)) for _ in range(count))
        for name, count in COUNTS.items()
    }


def _row(pair: tasks.Pair) -> str:
    messages = [
        {"role": "user", "content": pair.prompt},
        {"role": "assistant", "content": pair.answer},
    ]
    return json.dumps({"messages": messages}) + "\n"


def main() -> None:
    """Write the files."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name, text in rows().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
