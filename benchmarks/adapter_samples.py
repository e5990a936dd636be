"""Adapters of the embedded model that mlx_lm.lora trained, for measuring what judges them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from mlx_preflight.models.catalog import EMBEDDED_FOLDER, EMBEDDED_ROWS

PROGRAMS = Path(sys.executable).parent

SETTINGS: dict[str, Any] = {
    "model": "base",
    "data": str(EMBEDDED_ROWS),
    "train": True,
    "iters": 12,
    "batch_size": 4,
    "num_layers": -1,
    "max_seq_length": 128,
    "learning_rate": 1e-3,
    "steps_per_eval": 100,
    "val_batches": 2,
    "save_every": 6,
    "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0},
}
"""Settings of every run; they lower the loss from 6.1 to about 2."""

CLEAN: dict[str, dict[str, Any]] = {
    "rank 8, all layers": {},
    "rank 4, two layers": {
        "num_layers": 2,
        "lora_parameters": {"rank": 4, "scale": 10.0, "dropout": 0.0},
    },
    "keys": {
        "lora_parameters": {
            "rank": 8,
            "scale": 20.0,
            "dropout": 0.0,
            "keys": ["self_attn.q_proj", "self_attn.v_proj"],
        }
    },
    "dropout": {"lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.1}},
    "masked prompts": {"mask_prompt": True},
    "DoRA": {"fine_tune_type": "dora"},
    "full": {"fine_tune_type": "full", "learning_rate": 1e-4},
    "low rate": {"learning_rate": 1e-5},
    "base of 4 bits": {"bits": 4},
    "base of 8 bits": {"bits": 8},
}
"""Runs in which nothing is wrong; each is fused, too."""


def run(folder: Path, *command: str) -> None:
    """Run a program of mlx_lm in a folder."""
    done = subprocess.run(
        [str(PROGRAMS / command[0]), *command[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr[-2000:]}")


def quantize(folder: Path, source: str, target: str, bits: int) -> None:
    """Quantize a model with mlx_lm.convert, in groups of 32: the embedded model is narrow."""
    size = ("--q-bits", str(bits), "--q-group-size", "32")
    run(folder, "mlx_lm.convert", "--hf-path", source, "--mlx-path", target, "-q", *size)


def train(folder: Path, bits: int | None = None, **changes: Any) -> Path:
    """Make a sample: `base`, `run.yaml` and `adapters` of a real run, in a new folder.

    Args:
        folder: Where to.
        bits: Bits of the base; None leaves it in float32.
        changes: Settings that differ.
    """
    folder.mkdir(parents=True)
    if bits is None:
        shutil.copytree(EMBEDDED_FOLDER, folder / "base")
    else:
        quantize(folder, str(EMBEDDED_FOLDER), "base", bits)
    settings = {**SETTINGS, **changes}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run(folder, "mlx_lm.lora", "-c", "run.yaml")
    return folder


def fuse(folder: Path, *options: str) -> Path:
    """Fuse a sample into `fused`."""
    options = ("--adapter-path", "adapters", "--save-path", "fused", *options)
    run(folder, "mlx_lm.fuse", "--model", "base", *options)
    return folder
