"""Compare the predicted peak of generation with real runs of MLX-LM's generator; print JSON.

`python benchmarks/generation_accuracy.py --count 60 --seed 1` draws random small models as
`memory_accuracy.py` does, with prompts and answers of random length and cache, and generates
with each in a fresh process. Every run is measured `--repeats` times and the highest peak
counts: few tokens are generated, so one run need not meet the timing that takes most.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from typing import Any

from memory_accuracy import machine, versions
from memory_configurations import draw
from memory_report import summary

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings


def settings_of(source: random.Random, drawn: Settings) -> Settings:
    """Return a generation with the type and bits of a drawn training."""
    prompt, answer = source.choice([(1, 400), (5, 900), (64, 64), (256, 256), (700, 32)])
    return Settings(
        inference=True,
        prompt_tokens=max(1, prompt + source.randint(-prompt // 4, prompt // 4)),
        generate_tokens=answer + source.randint(0, answer // 4),
        bits=drawn.bits,
        dtype=drawn.dtype,
        backend="cpu",
    )


def compare(config: dict[str, Any], settings: Settings, repeats: int) -> dict[str, Any]:
    """Return the prediction beside the highest of several measured peaks."""
    prediction = predict(config, settings)
    peaks = [
        measure(config, settings, timeout_s=300, seed=number).peak_bytes
        for number in range(repeats)
    ]
    return {
        "model_type": config["model_type"],
        "settings": dataclasses.asdict(settings),
        "predicted_bytes": prediction.peak_bytes,
        "low_bytes": prediction.peak_low_bytes,
        "high_bytes": prediction.peak_high_bytes,
        "measured_bytes": peaks,
        "error": prediction.peak_bytes / max(peaks) - 1,
    }


def main() -> int:
    """Measure, predict, print; exit 1 when a peak lies outside its interval or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    source = random.Random(chosen.seed)
    rows, failed = [], []
    for index, (config, drawn) in enumerate(draw(chosen.count, chosen.seed)):
        try:
            rows.append(compare(config, settings_of(source, drawn), chosen.repeats))
        except PreflightError as error:
            failed.append(f"{index} {config['model_type']}: {error}")
        print(f"{index + 1} of {chosen.count}", file=sys.stderr, flush=True)
    outside = [
        row
        for row in rows
        if not row["low_bytes"] <= max(row["measured_bytes"]) <= row["high_bytes"]
    ]
    document = {
        "seed": chosen.seed,
        "repeats": chosen.repeats,
        "machine": machine(),
        "versions": versions(),
        "statistics": {**summary([row["error"] for row in rows]), "outside": len(outside)},
        "failed": failed,
        "rows": rows,
    }
    print(json.dumps(document, indent=1, sort_keys=True))
    return 1 if failed or outside else 0


if __name__ == "__main__":
    raise SystemExit(main())
