"""Keys of a config that the installed mlx-lm never reads, and what is trained instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mlx_preflight.memory import methods
from mlx_preflight.training.config_values import Problem
from mlx_preflight.training.training_run import CONFIG, DEFAULT, TrainingRun

RENAMED = {
    "lora_layers": "num_layers",
    "model_name": "model",
    "model_path": "model",
    "base_model": "model",
    "dataset": "data",
    "data_path": "data",
    "epochs": "iters",
    "num_epochs": "iters",
    "max_steps": "iters",
    "steps": "iters",
    "lr": "learning_rate",
    "micro_batch_size": "batch_size",
    "gradient_accumulation_steps": "grad_accumulation_steps",
    "gradient_checkpointing": "grad_checkpoint",
    "sequence_len": "max_seq_length",
    "max_length": "max_seq_length",
    "output_dir": "adapter_path",
    "use_dora": "fine_tune_type",
    "lora_rank": "lora_parameters.rank",
    "rank": "lora_parameters.rank",
    "r": "lora_parameters.rank",
    "lora_r": "lora_parameters.rank",
    "alpha": "lora_parameters.scale, which is alpha / rank",
    "lora_alpha": "lora_parameters.scale, which is alpha / rank",
    "lora_dropout": "lora_parameters.dropout",
    "dropout": "lora_parameters.dropout",
    "scale": "lora_parameters.scale",
    "target_modules": "lora_parameters.keys",
    "lora_target_modules": "lora_parameters.keys",
    "warmup": "lr_schedule.warmup",
    "warmup_steps": "lr_schedule.warmup",
    "lr_scheduler": "lr_schedule.name",
    "weight_decay": "optimizer_config.adamw.weight_decay",
}
"""Names of older versions and of other trainers → mlx-lm's (mlx-examples#1067, mlx-lm#1670)."""


def unread_keys(run: TrainingRun, nested: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Yield the keys that have no effect, each with the real one and what happens instead.

    Args:
        run: The training run.
        nested: Setting → keys of its mapping that mlx-lm reads.
    """
    for name, origin in run.origins.items():
        # A method of another trainer is refused as such, see `config_facts`.
        if origin == CONFIG and name not in run.known and name not in methods.named(run.settings):
            yield name, f"not read{_instead(name, run)}"
    for name, known in nested.items():
        value = run.settings.get(name)
        for entry in value if isinstance(value, list) else [value]:
            if run.origins.get(name, DEFAULT) != DEFAULT and isinstance(entry, Mapping):
                yield from (
                    (f"{name}.{key}", f"not read{_nested(name, str(key), known)}")
                    for key in entry
                    if key not in known
                )


def _instead(name: str, run: TrainingRun) -> str:
    plain = name.replace("-", "_").lower()
    near = RENAMED.get(plain) or next(
        iter(difflib.get_close_matches(plain, sorted(run.known), n=1, cutoff=0.6)), None
    )
    if near is None:
        return "; mlx-lm has no such setting"
    setting, _, inner = near.partition(",")[0].partition(".")
    return f"; mlx-lm's key is {near}: {_effect(setting, inner, run)}"


def _effect(setting: str, inner: str, run: TrainingRun) -> str:
    value: Any = run.settings.get(setting)
    if inner and isinstance(value, Mapping):
        value = value.get(inner.partition(".")[0])
    default = run.origins.get(setting, DEFAULT) == DEFAULT
    return f"{'the default ' if default else ''}{value} would be used"


def _nested(name: str, key: str, known: Collection[str]) -> str:
    if name == "lora_parameters" and key in ("alpha", "lora_alpha"):
        return "; mlx-lm's key is scale, which is alpha / rank"
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
