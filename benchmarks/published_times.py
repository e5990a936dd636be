"""Compare the table of chips with published speeds of mlx_lm.lora; prints JSON.

`python benchmarks/published_times.py`. Nothing is run: every row is a traced step, and the
table's time for it. Rows are those whose batch, settings and speed are stated.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mlx_preflight.core.environment import capture
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.training import timing

QUERY_AND_VALUE = ("self_attn.q_proj", "self_attn.v_proj")

TINYLLAMA = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "intermediate_size": 5632,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
"""Shapes of TinyLlama-1.1B."""

Row = tuple[str, Any, dict[str, Any], float, str]

ROWS: list[Row] = [
    ("M1 Max", "qwen3-8b", {"max_seq_length": 2048, "num_layers": 36}, 97.8, "tokens/s"),
    (
        "M1 Pro",
        "qwen2.5-coder-7b",
        {"max_seq_length": 1024, "rank": 16, "dropout": 0.1},
        0.08,
        "it/s",
    ),
    ("M5", "mistral-7b", {"max_seq_length": 191, "grad_checkpoint": False}, 127.5, "tokens/s"),
    *(
        (
            "M1",
            name,
            {"max_seq_length": 48, "keys": QUERY_AND_VALUE, "grad_checkpoint": False},
            speed,
            "tokens/s",
        )
        for name, speed in (("llama-3.2-3b", 78.5), ("llama-3.1-8b", 32.6))
    ),
    (
        "M3 Max",
        TINYLLAMA,
        {"max_seq_length": 83, "keys": QUERY_AND_VALUE, "bits": None},
        903,
        "tokens/s",
    ),
    (
        "M2",
        "qwen2.5-coder-1.5b",
        {
            "batch_size": 4,
            "max_seq_length": 54,
            "num_layers": 28,
            "bits": None,
            "grad_accumulation_steps": 32,
        },
        0.5,
        "it/s",
    ),
    (
        "M4 Pro",
        "qwen3-0.6b",
        {
            "max_seq_length": 1024,
            "keys": QUERY_AND_VALUE,
            "bits": None,
            "grad_checkpoint": False,
        },
        2.2,
        "it/s",
    ),
    (
        "A100",
        "llama-3.2-3b",
        {
            "batch_size": 4,
            "max_seq_length": 81,
            "keys": QUERY_AND_VALUE,
            "bits": None,
            "grad_checkpoint": False,
        },
        7800,
        "tokens/s",
    ),
]
"""Chip, model, settings beside a batch of one row and checkpointing, speed and its unit. Ranges
are taken in the middle; the row of the M2 is of a whole run on an Air with 8 GB."""

FACTOR = 1.5


def main() -> int:
    """Print one JSON document."""
    rows = [_compared(row) for row in ROWS]
    near = [row for row in rows if 1 / FACTOR < row["predicted_by_published"] < FACTOR]
    document = {
        "rows": rows,
        "within_a_factor_of_1.5": f"{len(near)} of {len(rows)}",
        "missed": [row for row in rows if row not in near],
        "evidence": "simulated",
        "environment": capture(),
    }
    print(json.dumps(document, indent=1))
    return 0


def _compared(row: Row) -> dict[str, Any]:
    chip, model, given, speed, unit = row
    settings = Settings(**{"batch_size": 1, "grad_checkpoint": True, "backend": "metal", **given})
    config = source.find(model).config if isinstance(model, str) else model
    found = predict(config, settings)
    times = timing.of_prediction(found, settings.max_seq_length, chip=chip)
    step_s = float(times.train.at(settings.max_seq_length))
    published_s = 1 / speed if unit == "it/s" else found.costs.tokens / speed
    return {
        "chip": chip,
        "model": model if isinstance(model, str) else "tinyllama-1.1b",
        "settings": given,
        "published": f"{speed} {unit}",
        "published_step_s": round(published_s, 4),
        "predicted_step_s": round(step_s, 4),
        "predicted_by_published": round(step_s / published_s, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
