"""run1-config: each fault of a configuration is found by exactly its check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_preflight.core.result import Status
from tests.training.conftest import CLEAN, Judge, Write, failed

SESSION = "run1-config"
LORA = {"rank": 8, "dropout": 0.0, "scale": 20.0}

CLEAN_RUNS: dict[str, dict[str, Any]] = {
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

FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    # name: (check, changed settings, part of the reason)
    "an older name": ("RUN1.2", {"lora_layers": 4}, "mlx-lm's key is num_layers: 2 would be used"),
    "a hyphen": ("RUN1.2", {"batch-size": 4}, "mlx-lm's key is batch_size"),
    "a warmup of its own": ("RUN1.2", {"warmup": 10}, "lr_schedule.warmup"),
    "a weight decay of its own": ("RUN1.2", {"weight_decay": 0.1}, "adamw.weight_decay"),
    "an alpha of its own": ("RUN1.2", {"lora_alpha": 16}, "scale, which is alpha / rank"),
    "rank-stabilized": ("RUN1.2", {"use_rslora": True}, "no such setting"),
    "a misspelt key": ("RUN1.2", {"learning_rat": 1e-4}, "key is learning_rate: the default 1e-05"),
    "an alpha among the adapters": (
        "RUN1.2",
        {"lora_parameters": {**LORA, "alpha": 16}},
        "lora_parameters.alpha: not read; mlx-lm's key is scale",
    ),
    "an unknown key of the schedule": (
        "RUN1.2",
        {"lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9], "warmup_steps": 2}},
        "lr_schedule.warmup_steps",
    ),
    "a text for a number": ("RUN1.3", {"learning_rate": "0.00001"}, "a text, not a number"),
    "a fraction for a count": ("RUN1.3", {"iters": 2.5}, "iters: invalid int value: '2.5'"),
    "a text for a switch": ("RUN1.3", {"grad_checkpoint": "no"}, "'no' is not true or false"),
    "an unknown optimizer": ("RUN1.3", {"optimizer": "lion"}, "invalid choice: 'lion'"),
    "an unknown kind of tuning": ("RUN1.3", {"fine_tune_type": "qlora"}, "invalid choice"),
    "a method of preference": ("RUN1.3", {"train_mode": "dpo"}, "DPO needs a second, frozen model"),
    "the same as a kind of tuning": (
        "RUN1.3",
        {"fine_tune_type": "orpo"},
        "ORPO needs an accepted",
    ),
    "several completions": ("RUN1.3", {"rl": "GRPO"}, "several completions of every prompt"),
    "no iterations": ("RUN1.3", {"iters": 0}, "iters: 0; expected at least 1"),
    "no rows in a batch": ("RUN1.3", {"batch_size": 0}, "batch_size: 0"),
    "a report every 0 steps": ("RUN1.3", {"steps_per_report": 0}, "divides by it"),
    "a validation every 0 steps": ("RUN1.3", {"steps_per_eval": 0}, "divides by it"),
    "a file every 0 steps": ("RUN1.3", {"save_every": 0}, "divides by it"),
    "no validation batch": ("RUN1.3", {"val_batches": 0}, "the validation loss is NaN"),
    "nothing accumulated": ("RUN1.3", {"grad_accumulation_steps": 0}, "as the trainer demands"),
    "a rate of 0": ("RUN1.3", {"learning_rate": 0.0}, "nothing is learned"),
    "a negative seed": ("RUN1.3", {"seed": -1}, "as numpy demands"),
    "one token": ("RUN1.3", {"max_seq_length": 1}, "a row of one token has no target"),
    "a list for a mapping": ("RUN1.3", {"lora_parameters": [8, 0, 20]}, "expected rank"),
    "no scale": ("RUN1.3", {"lora_parameters": {"rank": 16, "dropout": 0}}, "KeyError 'scale'"),
    "no dropout": ("RUN1.3", {"lora_parameters": {"rank": 16, "scale": 2}}, "KeyError 'dropout'"),
    "a dropout of 1": ("RUN1.3", {"lora_parameters": {**LORA, "dropout": 1}}, "below 1"),
    "a rank of 0": ("RUN1.3", {"lora_parameters": {**LORA, "rank": 0}}, "at least 1"),
    "a scale of 0": ("RUN1.3", {"lora_parameters": {**LORA, "scale": 0}}, "other than 0"),
    "neither train nor test": ("RUN1.4", {"train": None}, "neither train nor test"),
    "a threshold": ("RUN1.4", {"clear_cache_threshold": 1000}, "no effect"),
    "adapters of a full tuning": (
        "RUN1.4",
        {"fine_tune_type": "full", "lora_parameters": LORA},
        "no effect: fine_tune_type is full",
    ),
    "a name without a report": ("RUN1.4", {"project_name": "x"}, "no effect without report_to"),
    "more accumulated than there are": ("RUN1.4", {"grad_accumulation_steps": 9}, "fewer iters"),
    "the settings of another optimizer": (
        "RUN1.4",
        {"optimizer_config": {"adamw": {"weight_decay": 0.1}}},
        "it is adamw's, and optimizer is adam",
    ),
    "a rate that the schedule replaces": (
        "RUN1.4",
        {
            "learning_rate": 1e-4,
            "lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9]},
        },
        "lr_schedule starts at 1e-05",
    ),
    "a warmup without an end": (
        "RUN1.4",
        {"lr_schedule": {"name": "cosine_decay", "arguments": [1e-5, 9], "warmup": 100}},
        "100 steps, and the run has 4 updates",
    ),
    "no data": ("RUN1.5", {"data": None}, "the default mlx-community/WikiSQL"),
    "data that is not there": ("RUN1.5", {"data": "./dta"}, "./dta: no such folder"),
    "more blocks than there are": ("RUN1.6", {"num_layers": 99}, "num_layers is 99"),
    "a key without its block": (
        "RUN1.6",
        {"lora_parameters": {**LORA, "keys": ["q_proj"]}},
        "nothing is trained",
    ),
    "an unknown schedule": (
        "RUN1.7",
        {"lr_schedule": {"name": "cosine", "arguments": [1e-5, 9]}},
        "has no attribute 'cosine'",
    ),
    "a schedule without arguments": (
        "RUN1.7",
        {"lr_schedule": {"name": "cosine_decay"}},
        "KeyError",
    ),
    "an unknown setting of the optimizer": (
        "RUN1.7",
        {"optimizer": "adamw", "optimizer_config": {"adamw": {"decay": 0.1}}},
        "unexpected keyword argument 'decay'",
    ),
    "a file that is not there": ("RUN1.8", {"resume_adapter_file": "x.safetensors"}, "not found"),
    "an unknown service": ("RUN1.10", {"report_to": "tensorboard"}, "mlx-lm reports to"),
    "a service that is not installed": ("RUN1.10", {"report_to": "swanlab"}, "is not installed"),
}


@pytest.mark.parametrize("name", CLEAN_RUNS)
def test_a_clean_configuration_has_no_finding(
    name: str, write_run: Write, judge_run: Judge
) -> None:
    """What trains passes every check."""
    checks = judge_run(write_run(**CLEAN_RUNS[name]), SESSION)
    assert {key: checks[key].reason for key in failed(checks)} == {}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_check_alone(name: str, write_run: Write, judge_run: Judge) -> None:
    """The check of a trap fails, says what is wrong and where, and no other one fails."""
    check, changes, part = FAULTS[name]
    checks = judge_run(write_run(**changes), SESSION)
    wrong = {key for key, found in checks.items() if found.status in (Status.FAIL, Status.ERROR)}
    assert (wrong, part in checks[check].reason) == ({check}, True), checks[check].reason
    assert checks[check].status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "found nothing"),
        ("- model\n- train\n", "found sequence"),
        ("model: [", "line 1"),
        ("model: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        (
            "a: &a [x, x]\n"
            + "".join(
                f"b{i}: &b{i} [*{'a' if i == 0 else f'b{i - 1}'}"
                f", *{'a' if i == 0 else f'b{i - 1}'}]\n"
                for i in range(40)
            ),
            "aliases",
        ),
        ("a: " + "[" * 90 + "]" * 90, "nested over"),
    ],
)
def test_what_is_no_configuration_is_refused(
    text: str, part: str, write_run: Write, judge_run: Judge
) -> None:
    """No YAML, no mapping, code and bombs fail the first check and block the others."""
    checks = judge_run(write_run(text=text), SESSION)
    assert (checks["RUN1.1"].status, part in checks["RUN1.1"].reason) == (Status.FAIL, True)
    others = {found.status for key, found in checks.items() if key != "RUN1.1"}
    assert others == {Status.BLOCKED}


def test_a_key_that_is_there_twice_fails(write_run: Write, judge_run: Judge) -> None:
    """The loader would take the last one without a word; the line of it is named."""
    text = "\n".join(f"{name}: {value}" for name, value in CLEAN.items()) + "\niters: 9\n"
    checks = judge_run(write_run(text=text), SESSION)
    assert failed(checks) == {"RUN1.1"}
    assert checks["RUN1.1"].diagnostics[0].line == len(CLEAN) + 1


def test_a_misspelt_model_says_what_would_be_trained(write_run: Write, judge_run: Judge) -> None:
    """A default model that nobody asked for fails beside the key that is not read."""
    checks = judge_run(write_run(model=None, model_name="x/y"), SESSION)
    assert "the default Qwen/Qwen3-0.6b would be used" in checks["RUN1.2"].reason
    assert checks["RUN1.5"].status is Status.FAIL


def test_a_finding_has_the_line_of_its_key(write_run: Write, judge_run: Judge) -> None:
    """Programs are told file and line."""
    context = write_run(lora_layers=4)
    (place,) = judge_run(context, SESSION)["RUN1.2"].diagnostics
    lines = (context.project / "lora_config.yaml").read_text().splitlines()
    assert (place.path, lines[place.line - 1]) == ("lora_config.yaml", "lora_layers: 4")


def test_the_command_line_counts_before_the_config(write_run: Write, judge_run: Judge) -> None:
    """A value of the command line replaces a wrong one of the file."""
    checks = judge_run(write_run("--iters", "8", iters=0), SESSION)
    assert failed(checks) == set()
    assert "iterations 8" in checks["RUN1.4"].reason


def test_adapters_on_disk_fail_where_they_would_be_overwritten(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """A folder of an earlier run is named; one with other files is none."""
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "notes.txt").touch()
    assert failed(judge_run(write_run(), SESSION)) == set()
    (tmp_path / "adapters" / "0000100_adapters.safetensors").touch()
    assert failed(judge_run(write_run(), SESSION)) == {"RUN1.9"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"lora_parameters": {**LORA, "rank": 4}}, "of another shape"),
        ({"num_layers": -1}, "are not in it"),
        ({"num_layers": 1}, "are not trained"),
        ({"fine_tune_type": "dora"}, "are not in it"),
        ({}, ""),
    ],
)
def test_adapters_to_resume_from_are_compared_array_by_array(
    change: dict[str, Any], part: str, write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """Adapters of another rank, depth or type fail; those of the same run pass."""
    from mlx_preflight.memory import adapters
    from mlx_preflight.models import source

    config = source.find(CLEAN["model"]).config
    made = adapters.count(config, num_layers=2, parameters=LORA, fine_tune_type="lora")
    arrays = {name: mx.zeros(shape) for name, shape in made.shapes.items()}
    mx.save_safetensors(str(tmp_path / "old.safetensors"), arrays)
    checks = judge_run(write_run(resume_adapter_file="old.safetensors", **change), SESSION)
    assert failed(checks) == ({"RUN1.8"} if part else set())
    assert part in checks["RUN1.8"].reason


def test_adapters_of_another_base_fail(write_run: Write, judge_run: Judge, tmp_path: Path) -> None:
    """Shapes may agree although the base does not; the file beside the adapters names it."""
    from mlx_preflight.memory import adapters
    from mlx_preflight.models import source

    config = source.find(CLEAN["model"]).config
    made = adapters.count(config, num_layers=2, parameters=LORA, fine_tune_type="lora")
    arrays = {name: mx.zeros(shape) for name, shape in made.shapes.items()}
    mx.save_safetensors(str(tmp_path / "old.safetensors"), arrays)
    (tmp_path / "adapter_config.json").write_text('{"model": "mlx-community/Other-4bit"}')
    checks = judge_run(write_run(resume_adapter_file="old.safetensors"), SESSION)
    assert failed(checks) == {"RUN1.8"}
    assert "its base was other-4bit" in checks["RUN1.8"].reason
