"""Measure how long a memory prediction takes, each in a fresh process; prints JSON.

`python benchmarks/memory_speed.py` reports seconds with and without imports and the peak
resident memory for a 7B and a 72B model, and how the time grows with the layers.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from mlx_preflight.memory.settings import Settings

MODELS: dict[str, dict[str, Any]] = {
    "Qwen2.5-Coder-7B": {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Qwen2.5-72B": {
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "intermediate_size": 29568,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
"""Shapes from the models' config.json."""

SHARED: dict[str, Any] = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
}

LAYERS = (10, 20, 40, 80)
"""All of them with adapters, to see that time grows linearly."""


def main() -> int:
    """Print one JSON document."""
    if len(sys.argv) > 1:
        print(json.dumps(_one(json.loads(sys.argv[1]))))
        return 0
    found: dict[str, Any] = {"models": [], "layers": []}
    for name, shape in MODELS.items():
        for backend in ("cpu", "metal"):
            for checkpoint in (False, True):
                job = {"config": {**SHARED, **shape}, "backend": backend, "layers": 16}
                job["grad_checkpoint"] = checkpoint
                row = {"model": name, "backend": backend, "checkpointing": checkpoint}
                found["models"].append({**row, **_child(job)})
    for layers in LAYERS:
        config = {**SHARED, **MODELS["Qwen2.5-Coder-7B"], "num_hidden_layers": layers}
        job = {"config": config, "backend": "metal", "layers": -1, "grad_checkpoint": False}
        found["layers"].append({"layers": layers, **_child(job)})
    print(json.dumps(found, indent=1))
    return 0


def _child(job: dict[str, Any]) -> dict[str, float]:
    started = time.perf_counter()
    command = [sys.executable, __file__, json.dumps(job)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return {**row, "process_s": round(time.perf_counter() - started, 3)}


def _one(job: dict[str, Any]) -> dict[str, float]:
    started = time.perf_counter()
    from mlx_preflight.memory.predict import predict  # noqa: PLC0415  (its import is timed)

    imported = time.perf_counter() - started
    settings = Settings(
        batch_size=1,
        max_seq_length=2048,
        num_layers=job["layers"],
        grad_checkpoint=job["grad_checkpoint"],
        backend=job["backend"],
    )
    found = predict(job["config"], settings)
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "import_s": round(imported, 3),
        "predict_s": round(found.seconds, 3),
        "peak_rss_mb": round(peak_rss / (1e6 if sys.platform == "darwin" else 1e3), 1),
        "peak_gb": round(found.peak_bytes / 1e9, 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
