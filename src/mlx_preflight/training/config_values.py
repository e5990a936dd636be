"""Values of a training config: ranges, contradictions and settings without effect.

Each limit names what the trainer does beyond it (mlx-lm 0.32: lora.py, tuner/trainer.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlx_preflight.training.training_run import DEFAULT, TrainingRun

Problem = tuple[str, str]
"""Key, and what is wrong with it."""


def _positive(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "batch_size": (_positive, "at least 1"),
    "iters": (_positive, "at least 1; with fewer nothing is trained"),
    "max_seq_length": (lambda value: value > 1, "at least 2; a row of one token has no target"),
    "grad_accumulation_steps": (_positive, "at least 1, as the trainer demands"),
    "steps_per_report": (_positive, "at least 1; the trainer divides by it"),
    "steps_per_eval": (_positive, "at least 1; the trainer divides by it"),
    "save_every": (_positive, "at least 1; the trainer divides by it"),
    "val_batches": (
        lambda value: value == -1 or value >= 1,
        "at least 1, or -1 for all; without a batch the validation loss is NaN",
    ),
    "test_batches": (
        lambda value: value == -1 or value >= 1,
        "at least 1, or -1 for all; without a batch the test loss is NaN",
    ),
    "num_layers": (lambda value: value >= -1, "at least 1, or -1 for all blocks"),
    "learning_rate": (lambda value: 0 < value < math.inf, "above 0; with 0 nothing is learned"),
    "seed": (lambda value: 0 <= value < 2**32, "0 to 4294967295, as numpy demands"),
}
"""Setting → what its value must meet, and that in words."""


def out_of_range(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the values that the trainer would fail or train nothing with."""
    for name, (holds, words) in RANGES.items():
        value = settings[name]
        if isinstance(value, int | float) and not isinstance(value, bool) and not holds(value):
            yield name, f"{value!r}; expected {words}"


def lora_values(parameters: object) -> Iterator[Problem]:
    """Yield what is missing or out of range in `lora_parameters`."""
    name = "lora_parameters"
    if not isinstance(parameters, Mapping):
        yield name, f"{parameters!r}; expected rank, dropout and scale"
        return
    # A config's mapping replaces the default one whole (mlx_lm/lora.py 0.32).
    for key in ("rank", "scale", "dropout"):
        if key not in parameters:
            yield f"{name}.{key}", f"missing: KeyError {key!r} after the model was loaded"
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "rank": (_positive, "an integer of at least 1"),
        "scale": (_is_scale, "a number other than 0"),
        "dropout": (_is_share, "a number of at least 0, below 1"),
        "keys": (_is_names, "a list of module names, such as self_attn.q_proj"),
    }
    for key, (holds, words) in rules.items():
        if key in parameters and not holds(parameters[key]):
            yield f"{name}.{key}", f"{parameters[key]!r}; expected {words}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_scale(value: Any) -> bool:
    return _is_number(value) and value != 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_names(value: object) -> bool:
    listed = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return value is None or (listed and bool(value))


def updates(settings: Mapping[str, Any]) -> int:
    """Return how often the optimizer changes the weights."""
    return int(settings["iters"]) // int(settings["grad_accumulation_steps"])


def validations(settings: Mapping[str, Any]) -> int:
    """Return the number of validations: at iteration 1, every multiple, and the last one."""
    iters, every = int(settings["iters"]), int(settings["steps_per_eval"])
    return len({1, iters, *range(every, iters + 1, every)})


def contradictions(run: TrainingRun) -> Iterator[Problem]:
    """Yield settings that contradict each other, or that nothing comes of."""
    given = {name for name, origin in run.origins.items() if origin != DEFAULT}
    values = run.settings
    if not values["train"] and not values["test"]:
        yield "train", "neither train nor test: a ValueError after the model was loaded"
    for name in run.hidden:
        yield name, f"no effect in a config: the default {values[name]} of mlx-lm's parser hides it"
    if values["clear_cache_threshold"]:
        yield "clear_cache_threshold", "no effect: lora.py does not hand it to the trainer"
    if "lora_parameters" in given and values["fine_tune_type"] == "full":
        yield "lora_parameters", "no effect: fine_tune_type is full"
    if {"data", "hf_dataset"} <= given and values["hf_dataset"]:
        yield "data", "no effect: hf_dataset is read instead"
    if "project_name" in given and not values["report_to"]:
        yield "project_name", "no effect without report_to"
    if values["train"]:
        yield from _optimizer(values, given)
        if updates(values) < 1:
            accumulated = values["grad_accumulation_steps"]
            yield "grad_accumulation_steps", f"{accumulated} batches for an update, and fewer iters"


def _optimizer(values: Mapping[str, Any], given: set[str]) -> Iterator[Problem]:
    own, every = values["optimizer"], values["optimizer_config"]
    if isinstance(every, Mapping):
        others = [name for name, entry in every.items() if entry and name != own]
        if others and not every.get(own):
            yield "optimizer_config", f"no effect: it is {others[0]}'s, and optimizer is {own}"
    schedule = values["lr_schedule"]
    if not isinstance(schedule, Mapping):
        return
    first = next(iter(schedule.get("arguments") or ()), None)
    if "learning_rate" in given and first != values["learning_rate"]:
        rate = values["learning_rate"]
        yield "learning_rate", f"{rate} has no effect: lr_schedule starts at {first}"
    warmup = schedule.get("warmup", 0)
    if isinstance(warmup, int) and warmup >= max(updates(values), 1):
        yield "lr_schedule.warmup", f"{warmup} steps, and the run has {updates(values)} updates"
