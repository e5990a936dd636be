"""Configs of well-known models, so that no download is needed to ask."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.plan.profiles import SYNTHETIC_PREFIX

EMBEDDED_FOLDER = Path(__file__).with_name("embedded")
"""The checkpoint that ships with the package."""

EMBEDDED_ROWS = Path(__file__).with_name("embedded_rows")
"""Training data of its task, written by scripts/training/write_embedded_rows.py."""

SYNTHETIC_BITS, SYNTHETIC_GROUP = 4, 64
"""The defaults of `mlx_lm.convert -q`."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model.

    Attributes:
        name: Built-in name such as `qwen2.5-coder-7b`.
        repository: Its hub id.
        parameters: Exact count of its checkpoint.
        download_bytes: Size of the checkpoint as it is published.
        config: What the estimate reads of its config.json.
        source: Where the facts come from.
    """

    name: str
    repository: str
    parameters: int
    download_bytes: int
    config: Mapping[str, Any]
    source: str


@functools.cache
def models() -> tuple[KnownModel, ...]:
    """Return every built-in model, smallest of each family first."""
    text = resources.files("mlx_preflight.models").joinpath("catalog.json").read_text("utf-8")
    return tuple(
        KnownModel(
            item["name"],
            repository,
            item["parameters"],
            item["parameters"] * item["stored_bits"] // 8,
            item["config"],
            item["source"],
        )
        for repository, item in json.loads(text).items()
    )


def find(name: str) -> KnownModel | None:
    """Return the model of a built-in name or hub id, in any case; None when unknown."""
    wanted = name.lower()
    return next((item for item in models() if wanted in {item.name, item.repository.lower()}), None)


def find_synthetic(model: str) -> KnownModel:
    """Return the known model of a name such as `synthetic:qwen2.5-coder-7b`.

    Raises:
        UsageError: No config of that name is built in; the message suggests the nearest.
    """
    name = model.removeprefix(SYNTHETIC_PREFIX)
    found = find(name)
    if found is None:
        names = [item.name for item in models()]
        raise UsageError(f"no built-in config named {name!r}{suggest(name, names)}")
    return found


def synthetic_folder(found: KnownModel) -> Path:
    """Return where a model's random weights lie: in the user's cache, for all projects."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mlx-preflight" / "synthetic" / found.name


def synthetic_size_bytes(found: KnownModel) -> int:
    """Return about what the files take: 4 bits per weight, a scale and a bias per group."""
    bits, group = SYNTHETIC_BITS, SYNTHETIC_GROUP
    return found.parameters * (bits * group + 2 * 16) // (8 * group)
