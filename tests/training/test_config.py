"""run1-config: each fault of a configuration is found by exactly its check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.selftest.cases import configs
from mlx_preflight.selftest.injection.bases import LORA
from tests.training.conftest import CLEAN, Judge, Write, failed

SESSION = "run1-config"


@pytest.mark.parametrize("name", configs.CLEAN)
def test_a_clean_configuration_has_no_finding(
    name: str, write_run: Write, judge_run: Judge
) -> None:
    """What trains passes every check."""
    checks = judge_run(write_run(**configs.CLEAN[name]), SESSION)
    assert {key: checks[key].reason for key in failed(checks)} == {}


@pytest.mark.parametrize("name", configs.FAULTS)
def test_a_fault_is_found_by_its_check_alone(name: str, write_run: Write, judge_run: Judge) -> None:
    """The check of a trap fails, says what is wrong and where, and no other one fails."""
    check, changes, part = configs.FAULTS[name]
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
