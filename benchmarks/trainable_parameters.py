"""Compare our count of trainable parameters with the line that MLX-LM's trainer prints.

`python benchmarks/trainable_parameters.py` saves a small model for each of some random
settings, starts `mlx_lm.lora` on it for one iteration, and compares the line that it prints
with ours, which is counted from the config alone. It prints one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memory_accuracy import machine, versions
from mlx_lm import lora
from tiny_models import config_of, save

from mlx_preflight.memory import adapters

FAMILIES = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "smollm3"),
    *("olmo2", "starcoder2", "granite", "qwen3_moe"),
)
"""Values of `model_type`, in turn."""

LINE = re.compile(r"^Trainable parameters: .*$", re.MULTILINE)

FUSED = {"phi3": "self_attn.qkv_proj"}
"""Families whose attention has one projection, and its name."""

Setting = dict[str, Any]


def main() -> int:
    """Start every setting, compare the lines and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rows = [compared(setting) for setting in draw(chosen.count, chosen.seed)]
    equal = sum(row["equal"] for row in rows)
    document = {
        "seed": chosen.seed,
        "machine": machine(),
        "versions": versions(),
        "settings": len(rows),
        "families": len({row["family"] for row in rows}),
        "equal": equal,
        "rows": rows,
    }
    print(json.dumps(document, indent=1))
    return 0 if equal == len(rows) else 1


def draw(count: int, seed: int) -> list[Setting]:
    """Return random settings, the same for the same seed; families take turns."""
    source = random.Random(seed)
    return [_setting(source, FAMILIES[index % len(FAMILIES)]) for index in range(count)]


def _setting(source: random.Random, family: str) -> Setting:
    layers = source.randint(2, 5)
    kinds = ["lora", "lora", "dora", "full"]
    if family == "qwen3_moe":
        kinds.remove("dora")  # mlx_lm makes none for experts
    parameters: dict[str, Any] = {
        "rank": source.choice([1, 4, 8, 16, 64]),
        "scale": source.choice([2.0, 20.0]),
        "dropout": source.choice([0.0, 0.05, 0.2]),
    }
    bits, kind = source.choice([None, None, 4, 8]), source.choice(kinds)
    if kind == "full":
        bits = None  # the trainer finds no gradient of quantized weights
    if source.random() < 0.4:
        query = FUSED.get(family, "self_attn.q_proj")
        others = ["self_attn.o_proj"] if family in FUSED else ["self_attn.v_proj", "mlp.gate_proj"]
        known = [name for name in others if family not in {"qwen3_moe", "starcoder2"}]
        parameters["keys"] = [query, *source.sample(known, source.randint(0, len(known)))]
    return {
        "family": family,
        "layers": layers,
        "bits": bits,
        "num_layers": source.choice([-1, 0, 1, 2, layers]),
        "fine_tune_type": kind,
        "lora_parameters": parameters,
    }


def compared(setting: Setting) -> Setting:
    """Return a setting with both lines."""
    config = config_of(setting["family"], num_hidden_layers=setting["layers"])
    if setting["bits"]:
        config["quantization"] = {"bits": setting["bits"], "group_size": 64}
    with tempfile.TemporaryDirectory() as folder:
        theirs = trained_line(save(config, Path(folder) / "model"), setting)
    ours = adapters.count(
        config,
        num_layers=setting["num_layers"],
        parameters=setting["lora_parameters"],
        fine_tune_type=setting["fine_tune_type"],
    ).line
    return {**setting, "trainer": theirs, "counted": ours, "equal": ours == theirs}


def trained_line(model: Path, setting: Mapping[str, Any]) -> str:
    """Return the line that `mlx_lm.lora` prints when it trains a model for one iteration."""
    data = model.parent / "data"
    data.mkdir(exist_ok=True)
    rows = [json.dumps({"text": f"def number_{index}(): return {index}"}) for index in range(4)]
    for name in ("train", "valid"):
        (data / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    run = {
        **lora.CONFIG_DEFAULTS,
        "model": str(model),
        "data": str(data),
        "adapter_path": str(model.parent / "adapters"),
        "train": True,
        "iters": 1,
        "batch_size": 2,
        "max_seq_length": 64,
        "num_layers": setting["num_layers"],
        "fine_tune_type": setting["fine_tune_type"],
        "lora_parameters": dict(setting["lora_parameters"]),
    }
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        lora.run(types.SimpleNamespace(**run))
    found = LINE.search(printed.getvalue())
    if found is None:
        print(printed.getvalue(), file=sys.stderr)
        raise SystemExit("mlx_lm printed no line of trainable parameters")
    return found.group().rstrip()


if __name__ == "__main__":
    raise SystemExit(main())
