"""The one training run that every framework repeats, and a framework's file for it.

The file that `mlx-preflight export` writes and the one that a comparison trains with come
from `text`, so they cannot differ.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_preflight.core.errors import EstimateError, UsageError
from mlx_preflight.core.json_file import read_json, write_text
from mlx_preflight.memory.settings import Settings

if TYPE_CHECKING:
    from mlx_preflight.frameworks.framework import Plugin

EMBEDDED = Path(__file__).resolve().parents[1] / "models" / "embedded"

_SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LINEAR = {
    **dict.fromkeys(
        ("gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3", "smollm3"), _SPLIT
    ),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
}
"""Architecture → the linear layers of a block; MLX-LM adapts all of them by default."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run in the terms of MLX-LM.

    Attributes:
        model: Folder or hub id.
        config: The model's config.json.
        settings: What decides memory: rank, rows, layers, bits and so on.
        steps: Updates of the adapter.
        learning_rate: Constant, without warm-up.
        seed: Of the adapter's A; B is zero.
    """

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    steps: int = 20
    learning_rate: float = 1e-3
    seed: int = 0


def embedded(*, steps: int = 20, folder: Path = EMBEDDED) -> Recipe:
    """Return the run of the comparison: the embedded checkpoint in float32, on the CPU."""
    config = read_json(folder / "config.json")
    settings = Settings(
        batch_size=2,
        max_seq_length=128,
        num_layers=int(config["num_hidden_layers"]),
        rank=8,
        bits=None,
        dtype="float32",
        backend="cpu",
    )
    return Recipe(str(folder), config, settings, steps=steps)


def in_four_bits(recipe: Recipe, steps: int) -> Recipe:
    """Return the same run on a base model in four bits."""
    return replace(recipe, settings=replace(recipe.settings, bits=4), steps=steps)


def linear(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the linear layers of a block, for frameworks that want them by name.

    Raises:
        UsageError: They are not known for this architecture.
    """
    kind = str(config.get("model_type"))
    if kind not in LINEAR:
        raise UsageError(
            f"the linear layers of a block of {kind!r} are not known here",
            hint="name them with --lora-keys, such as self_attn.q_proj,self_attn.v_proj",
        )
    return LINEAR[kind]


def text(plugin: Plugin, recipe: Recipe) -> str:
    """Return a framework's configuration file: YAML, one line per key.

    Raises:
        UsageError: The framework cannot be told such a run.
    """
    if not (math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0):
        raise EstimateError("learning_rate", recipe.learning_rate, "a finite number above 0")
    lines = [f"# {plugin.FRAMEWORK.title}, written by mlx-preflight export"]
    lines += [f"# {line}" for line in plugin.FRAMEWORK.before(recipe)]
    lines += [f"{key}: {_value(value)}" for key, value in plugin.config(recipe).items()]
    return "\n".join(lines) + "\n"


def write(plugin: Plugin, recipe: Recipe, path: Path) -> str:
    """Write a framework's configuration file and return its text.

    Raises:
        UsageError: It is there already, or the framework cannot be told such a run.
        ResultError: The folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists", hint="name another file with --out")
    content = text(plugin, recipe)
    write_text(path, content)
    return content


def _value(value: object) -> str:
    """Return a value as JSON, which YAML reads; its floats need a point to be numbers there."""
    shown = json.dumps(value)
    return re.sub(r"(?<![\d.\"])(\d+)e([-+]\d+)", r"\1.0e\2", shown)
