"""Draw what was compared: memory, speed and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_preflight.frameworks import scoring
from mlx_preflight.report import svg

MEMORY, SPEED, LOSS = "frameworks_memory.svg", "frameworks_speed.svg", "frameworks_loss.svg"


def draw(data: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return file name → SVG text."""
    titles = {name: str(item["title"]) for name, item in data.items()}
    memory = {titles[name]: scoring.memory(item) / 1e6 for name, item in data.items()}
    speed = {titles[name]: scoring.speed(item) for name, item in data.items()}
    loss = {titles[name]: item["train"][0]["loss"] for name, item in data.items()}
    return {
        MEMORY: svg.bars("Peak resident memory of the training", "MB", memory),
        SPEED: svg.bars("Training speed on the CPU of this machine", "tokens/s", speed),
        LOSS: svg.lines("Training loss, same rows in the same order", "step", "nats", loss),
    }
