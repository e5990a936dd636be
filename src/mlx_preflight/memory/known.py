"""Hold the configs of well-known models as facts, so that no download is needed to ask."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Known:
    """Hold one model.

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
def models() -> tuple[Known, ...]:
    """Return every built-in model, smallest of each family first."""
    text = resources.files("mlx_preflight.memory").joinpath("known.json").read_text("utf-8")
    return tuple(
        Known(
            item["name"],
            repository,
            item["parameters"],
            item["parameters"] * item["stored_bits"] // 8,
            item["config"],
            item["source"],
        )
        for repository, item in json.loads(text).items()
    )


def find(name: str) -> Known | None:
    """Return the model of a built-in name or hub id, in any case; None when unknown."""
    wanted = name.lower()
    return next((item for item in models() if wanted in {item.name, item.repository.lower()}), None)
