"""Settings that an adapter stores, compared with those of the config that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlx_preflight.core.text import printable
from mlx_preflight.training import finished_run
from mlx_preflight.training.finished_run import FinishedRun
from mlx_preflight.training.training_run import TrainingRun

OTHER = (
    *("iters", "batch_size", "learning_rate", "optimizer", "max_seq_length", "mask_prompt"),
    *("seed", "grad_accumulation_steps"),
)
"""Settings that the command line may have changed since: a difference is told, and no failure."""


def in_words(run: FinishedRun) -> str:
    """Return what an adapter is, by its own settings."""
    if run.kind == "full":
        return f"full, {run.stored.get('num_layers')} layers"
    found = run.stored["lora_parameters"]
    layers = run.stored["num_layers"]
    depth = "all" if layers < 1 else str(layers)
    return f"{run.kind}, rank {found['rank']}, scale {found['scale']}, {depth} layers"


def differences(run: FinishedRun, asked: TrainingRun, layers: int) -> Iterator[str]:
    """Yield the settings that decide what the tensors mean, and that are not those asked."""
    stored, wanted = _meaning(run.stored, layers), _meaning(asked.settings, layers)
    for name, value in wanted.items():
        if stored[name] != value:
            yield f"{name} is {_shown(stored[name])}, and {_shown(value)} was asked"


def _meaning(settings: Mapping[str, Any], layers: int) -> dict[str, Any]:
    kind = settings.get("fine_tune_type", "lora")
    depth = settings.get("num_layers")
    found: dict[str, Any] = {
        "fine_tune_type": kind,
        "num_layers": layers if isinstance(depth, int) and depth < 1 else depth,
    }
    parameters = settings.get("lora_parameters")
    if kind != "full" and isinstance(parameters, Mapping):
        found |= {name: parameters.get(name) for name in finished_run.LORA_NUMBERS}
        keys = parameters.get("keys")
        found["keys"] = None if keys is None else sorted(map(str, keys))
    else:
        found |= dict.fromkeys((*finished_run.LORA_NUMBERS, "keys"))
    return found


def others(run: FinishedRun, asked: TrainingRun) -> list[str]:
    """Return what the command line may have changed, in words."""
    names = [
        f"{name} {_shown(run.stored[name])} instead of {_shown(asked.settings.get(name))}"
        for name in OTHER
        if name in run.stored and run.stored[name] != asked.settings.get(name)
    ]
    return [f"trained with {', '.join(names)}"] if names else []


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value.isidentifier() else printable(value)
