"""Cases of run1-config: keys, values and files that mlx-lm takes otherwise than meant."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.models import source
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import LORA, RUN, run_config, run_settings
from mlx_preflight.selftest.injection.case import CONFIG, Case, Kit, Sample
from mlx_preflight.selftest.injection.steps import arguments, write

KIT = Kit(plan.RUN1_CONFIG, (run_config,))

CLEAN: dict[str, dict[str, Any]] = {
    "as it is": {},
    "every layer": {"num_layers": -1},
    "its own adapters": {"lora_parameters": LORA},
    "adapters of two layers": {
        "lora_parameters": {**LORA, "keys": ["self_attn.q_proj", "self_attn.v_proj"]}
    },
    "dora": {"fine_tune_type": "dora"},
    "full": {"fine_tune_type": "full"},
    "an integer where a number is wanted": {"learning_rate": 1},
    "a schedule": {
        "iters": 40,
        "lr_schedule": {"name": "cosine_decay", "warmup": 4, "arguments": [1e-5, 36, 1e-7]},
    },
    "an optimizer with settings": {
        "optimizer": "adamw",
        "optimizer_config": {"adamw": {"betas": [0.9, 0.98], "weight_decay": 0.01}},
    },
    "muon": {"optimizer": "muon"},
    "accumulation": {"grad_accumulation_steps": 2},
    "all validation batches": {"val_batches": -1},
    "a text of features": {"prompt_feature": "question", "completion_feature": "answer"},
    "a seed": {"seed": 4294967295},
}
"""Settings that train, and no check may refuse."""

FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    # name: (check, changed settings, part of the reason)
    "an older name": (
        plan.RUN1_2,
        {"lora_layers": 4},
        "mlx-lm's key is num_layers: 2 would be used",
    ),
    "a hyphen": (plan.RUN1_2, {"batch-size": 4}, "mlx-lm's key is batch_size"),
    "a warmup of its own": (plan.RUN1_2, {"warmup": 10}, "lr_schedule.warmup"),
    "a weight decay of its own": (plan.RUN1_2, {"weight_decay": 0.1}, "adamw.weight_decay"),
    "an alpha of its own": (plan.RUN1_2, {"lora_alpha": 16}, "scale, which is alpha / rank"),
    "rank-stabilized": (plan.RUN1_2, {"use_rslora": True}, "no such setting"),
    "a misspelt key": (
        plan.RUN1_2,
        {"learning_rat": 1e-4},
        "key is learning_rate: the default 1e-05",
    ),
    "an alpha among the adapters": (
        plan.RUN1_2,
        {"lora_parameters": {**LORA, "alpha": 16}},
        "lora_parameters.alpha: not read; mlx-lm's key is scale",
    ),
    "an unknown key of the schedule": (
        plan.RUN1_2,
        {"lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9], "warmup_steps": 2}},
        "lr_schedule.warmup_steps",
    ),
    "a text for a number": (plan.RUN1_3, {"learning_rate": "0.00001"}, "a text, not a number"),
    "a fraction for a count": (plan.RUN1_3, {"iters": 2.5}, "iters: invalid int value: '2.5'"),
    "a text for a switch": (
        plan.RUN1_3,
        {"grad_checkpoint": "no"},
        "'no' is not true or false",
    ),
    "an unknown optimizer": (plan.RUN1_3, {"optimizer": "lion"}, "invalid choice: 'lion'"),
    "an unknown kind of tuning": (plan.RUN1_3, {"fine_tune_type": "qlora"}, "invalid choice"),
    "a method of preference": (
        plan.RUN1_3,
        {"train_mode": "dpo"},
        "DPO needs a second, frozen model",
    ),
    "the same as a kind of tuning": (
        plan.RUN1_3,
        {"fine_tune_type": "orpo"},
        "ORPO needs an accepted",
    ),
    "several completions": (plan.RUN1_3, {"rl": "GRPO"}, "several completions of every prompt"),
    "no iterations": (plan.RUN1_3, {"iters": 0}, "iters: 0; expected at least 1"),
    "no rows in a batch": (plan.RUN1_3, {"batch_size": 0}, "batch_size: 0"),
    "a report every 0 steps": (plan.RUN1_3, {"steps_per_report": 0}, "divides by it"),
    "a validation every 0 steps": (plan.RUN1_3, {"steps_per_eval": 0}, "divides by it"),
    "a file every 0 steps": (plan.RUN1_3, {"save_every": 0}, "divides by it"),
    "no validation batch": (plan.RUN1_3, {"val_batches": 0}, "the validation loss is NaN"),
    "nothing accumulated": (
        plan.RUN1_3,
        {"grad_accumulation_steps": 0},
        "as the trainer demands",
    ),
    "a rate of 0": (plan.RUN1_3, {"learning_rate": 0.0}, "nothing is learned"),
    "a negative seed": (plan.RUN1_3, {"seed": -1}, "as numpy demands"),
    "one token": (plan.RUN1_3, {"max_seq_length": 1}, "a row of one token has no target"),
    "a list for a mapping": (plan.RUN1_3, {"lora_parameters": [8, 0, 20]}, "expected rank"),
    "no scale": (
        plan.RUN1_3,
        {"lora_parameters": {"rank": 16, "dropout": 0}},
        "KeyError 'scale'",
    ),
    "no dropout": (
        plan.RUN1_3,
        {"lora_parameters": {"rank": 16, "scale": 2}},
        "KeyError 'dropout'",
    ),
    "a dropout of 1": (plan.RUN1_3, {"lora_parameters": {**LORA, "dropout": 1}}, "below 1"),
    "a rank of 0": (plan.RUN1_3, {"lora_parameters": {**LORA, "rank": 0}}, "at least 1"),
    "a scale of 0": (plan.RUN1_3, {"lora_parameters": {**LORA, "scale": 0}}, "other than 0"),
    "neither train nor test": (plan.RUN1_4, {"train": None}, "neither train nor test"),
    "a threshold": (plan.RUN1_4, {"clear_cache_threshold": 1000}, "no effect"),
    "adapters of a full tuning": (
        plan.RUN1_4,
        {"fine_tune_type": "full", "lora_parameters": LORA},
        "no effect: fine_tune_type is full",
    ),
    "a name without a report": (
        plan.RUN1_4,
        {"project_name": "x"},
        "no effect without report_to",
    ),
    "more accumulated than there are": (
        plan.RUN1_4,
        {"grad_accumulation_steps": 9},
        "fewer iters",
    ),
    "the settings of another optimizer": (
        plan.RUN1_4,
        {"optimizer_config": {"adamw": {"weight_decay": 0.1}}},
        "it is adamw's, and optimizer is adam",
    ),
    "a rate that the schedule replaces": (
        plan.RUN1_4,
        {
            "learning_rate": 1e-4,
            "lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9]},
        },
        "lr_schedule starts at 1e-05",
    ),
    "a warmup without an end": (
        plan.RUN1_4,
        {"lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9], "warmup": 100}},
        "100 steps, and the run has 4 updates",
    ),
    "no data": (plan.RUN1_5, {"data": None}, "the default mlx-community/WikiSQL"),
    "data that is not there": (plan.RUN1_5, {"data": "./dta"}, "./dta: no such folder"),
    "more blocks than there are": (plan.RUN1_6, {"num_layers": 99}, "num_layers is 99"),
    "a key without its block": (
        plan.RUN1_6,
        {"lora_parameters": {**LORA, "keys": ["q_proj"]}},
        "nothing is trained",
    ),
    "an unknown schedule": (
        plan.RUN1_7,
        {"lr_schedule": {"name": "cosine", "arguments": [1e-5, 9]}},
        "has no attribute 'cosine'",
    ),
    "a schedule without arguments": (
        plan.RUN1_7,
        {"lr_schedule": {"name": "cosine_decay"}},
        "KeyError",
    ),
    "an unknown setting of the optimizer": (
        plan.RUN1_7,
        {"optimizer": "adamw", "optimizer_config": {"adamw": {"decay": 0.1}}},
        "unexpected keyword argument 'decay'",
    ),
    "a file that is not there": (
        plan.RUN1_8,
        {"resume_adapter_file": "x.safetensors"},
        "not found",
    ),
    "an unknown service": (plan.RUN1_10, {"report_to": "tensorboard"}, "mlx-lm reports to"),
    "a service that is not installed": (
        plan.RUN1_10,
        {"report_to": "swanlab"},
        "is not installed",
    ),
}
"""Settings that no run means."""

NOT_A_CONFIG = {
    "an empty file": "",
    "a list": "- model\n- train\n",
    "no YAML": "model: [",
    "code": "model: !!python/object/apply:os.system [ls]\n",
    "deep nesting": "a: " + "[" * 90 + "]" * 90,
    "a key twice": "\n".join(f"{key}: {value}" for key, value in RUN.items()) + "\niters: 9\n",
}
"""Texts that are no configuration, or not one."""

OLD = "old.safetensors"


def resumed(sample: Sample) -> None:
    """Write adapters of the run's own shapes, to resume from.

    Raises:
        PreflightError: The shapes cannot be counted.
    """
    from mlx_preflight.memory import adapters  # noqa: PLC0415  (it imports mlx)

    config = source.find(str(RUN["model"])).config
    made = adapters.count(config, num_layers=2, parameters=LORA, fine_tune_type="lora")
    if not made.shapes:
        raise PreflightError("the adapters have no tensors")
    arrays = {name: np.zeros(shape, np.float32) for name, shape in made.shapes.items()}
    tensors.save(sample.folder / OLD, arrays)
    run_settings(resume_adapter_file=OLD)(sample)


RESUMED: dict[str, dict[str, Any]] = {
    "adapters of another rank": {"lora_parameters": {**LORA, "rank": 4}},
    "adapters of fewer blocks": {"num_layers": -1},
    "adapters of more blocks": {"num_layers": 1},
    "adapters of another type": {"fine_tune_type": "dora"},
}

CASES: tuple[Case, ...] = (
    *(KIT.clean(name, run_settings(**changes)) for name, changes in CLEAN.items()),
    *(
        KIT.defect(check, name, run_settings(**more), blocks=True)
        for name, (check, more, _) in FAULTS.items()
    ),
    *(
        KIT.defect(plan.RUN1_1, f"config: {name}", write(CONFIG, text), blocks=True)
        for name, text in NOT_A_CONFIG.items()
    ),
    KIT.defect(
        plan.RUN1_5,
        "a misspelt model",
        run_settings(model=None, model_name="x/y"),
        along=[plan.RUN1_2],
        blocks=True,
    ),
    KIT.defect(plan.RUN1_9, "adapters are there", write("adapters/adapters.safetensors", "")),
    KIT.clean("a folder of notes", write("adapters/notes.txt", ""), near=plan.RUN1_9),
    *(
        KIT.defect(plan.RUN1_8, f"resume: {name}", resumed, run_settings(**changes))
        for name, changes in RESUMED.items()
    ),
    KIT.defect(
        plan.RUN1_8,
        "resume: adapters of another base",
        resumed,
        write("adapter_config.json", '{"model": "mlx-community/Other-4bit"}'),
    ),
    KIT.clean("adapters to resume from", resumed, near=plan.RUN1_8),
    KIT.clean(
        "a wrong value that the command line replaces",
        *(run_settings(iters=0), arguments("--iters", "8")),
        near=plan.RUN1_3,
    ),
    KIT.clean(
        "a config with comments and a trailing space",
        write(CONFIG, "# a run\n" + "".join(f"{k}: {v}  \n" for k, v in RUN.items())),
        near=plan.RUN1_1,
    ),
)
