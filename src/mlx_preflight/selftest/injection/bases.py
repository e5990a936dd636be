"""Clean samples: what every case starts from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mlx_preflight.core.errors import UsageError
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.selftest.injection.case import CONFIG, Sample, Step
from mlx_preflight.selftest.injection.steps import write

ROOT = Path(__file__).resolve().parents[4]
"""Checkout whose documents, scripts and guide are the clean samples."""

EVALUATION = "docs/training/T001_framework_evaluation.md"
GUIDE = "docs/training/FRAMEWORK_SETUP.md"

LORA = {"rank": 8, "dropout": 0.0, "scale": 20.0}

RUN: dict[str, Any] = {
    "model": str(EMBEDDED_FOLDER),
    "train": True,
    "data": "data",
    "iters": 4,
    "batch_size": 2,
    "num_layers": 2,
    "max_seq_length": 128,
    "steps_per_eval": 2,
    "val_batches": 1,
}
"""Settings that train the embedded model."""

SMALL = """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"
[project]
name = "sample"
version = "1.0"
dependencies = {dependencies}
[tool.hatch.build.targets.wheel]
include = ["sample.py"]
"""
"""A package of one module."""


def require_checkout() -> None:
    """Refuse to plant anything where the clean samples are not.

    Raises:
        UsageError: This package was installed without its checkout.
    """
    if not (ROOT / EVALUATION).is_file():
        raise UsageError(
            f"{ROOT / EVALUATION}: not there; the samples are this project's own documents",
            hint="run it in a checkout of mlx-preflight, installed with `pip install -e .`",
        )


def checkout(sample: Sample) -> None:
    """Copy this project's documents, scripts and tables."""
    require_checkout()
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, sample.folder / name)
    for name in ("pyproject.toml", "noxfile.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, sample.folder / name)


def package(*dependencies: str) -> Step:
    """Return what writes a package of one module with these dependencies."""

    def act(sample: Sample) -> None:
        text = SMALL.format(dependencies=json.dumps(dependencies))
        sample.path("pyproject.toml").write_text(text, encoding="utf-8")
        sample.path("sample.py").write_text("VALUE = 1\n", encoding="utf-8")

    return act


def model_copy(sample: Sample) -> None:
    """Copy the embedded model into the sample, and let it be the one that is judged."""
    shutil.copytree(EMBEDDED_FOLDER, sample.folder / "model")
    sample.model = str(sample.folder / "model")


def row(question: str, answer: str, **keys: Any) -> dict[str, Any]:
    """Return a training row of one question and its answer."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **keys}


def rows(split: str, count: int = 6) -> list[dict[str, Any]]:
    """Return rows that differ from one another, and from those of another split."""
    question, answer = "Write a function that adds two numbers.", "def add(a, b):\n    return a + b"
    return [row(f"{split} {number}: {question}", answer) for number in range(count)]


def lines(values: Sequence[Any]) -> str:
    """Return values as JSON lines."""
    return "".join(json.dumps(value) + "\n" for value in values)


def run_config(sample: Sample, settings: Mapping[str, Any] = RUN) -> None:
    """Write a config of mlx_lm.lora with its rows, and judge it."""
    sample.path(CONFIG).write_text(yaml.safe_dump(dict(settings), sort_keys=False), "utf-8")
    for split in ("train", "valid"):
        sample.path(f"data/{split}.jsonl").write_text(lines(rows(split)), encoding="utf-8")
    sample.training = ("--config", CONFIG)


def run_settings(**changes: Any) -> Step:
    """Return what changes keys of the config; None removes one."""

    def act(sample: Sample) -> None:
        path = sample.folder / CONFIG
        merged = {**yaml.safe_load(path.read_text(encoding="utf-8")), **changes}
        kept = {key: value for key, value in merged.items() if value is not None}
        path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")

    return act


def data(split: str, values: Sequence[Any] | str | bytes) -> Step:
    """Return what writes the rows of a split."""
    content = values if isinstance(values, str | bytes) else lines(values)
    return write(f"data/{split}.jsonl", content)


def own_model(sample: Sample) -> None:
    """Let a training run use a copy of the embedded model, which later steps may change."""
    shutil.copytree(EMBEDDED_FOLDER, sample.folder / "model")
    run_settings(model="model")(sample)
