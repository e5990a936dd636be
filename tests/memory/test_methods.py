"""Preference and distillation methods are refused by name, and no LoRA figure is theirs."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import EstimateError, ExitCode, UsageError
from mlx_preflight.memory import methods
from mlx_preflight.memory.predict import predict
from mlx_preflight.training import command
from tests.memory.models import qwen, small


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("dpo", "a second, frozen model"),
        ("ORPO", "an accepted and a rejected answer"),
        ("grpo", "several completions"),
        ("dwq", "a teacher"),
        ("online-dpo", "a judge"),
    ],
)
def test_a_prediction_names_the_method_and_what_it_needs(kind: str, part: str) -> None:
    """The word alone would read as a misspelt lora."""
    with pytest.raises(EstimateError, match=f"fine_tune_type is {kind!r}") as caught:
        predict(qwen(), small(fine_tune_type=kind))
    assert part in caught.value.allowed
    assert caught.value.allowed.startswith(methods.ALLOWED)


@pytest.mark.parametrize(
    "typed",
    [
        ["mlx_lm.dwq", "--model", "embedded"],
        ["python", "-m", "mlx_lm.dwq", "--model", "embedded"],
        ["mlx_lm", "dwq", "--model", "embedded"],
        ["mlx_lm_lora.train", "--train-mode", "grpo", "--train"],
        ["mlx_lm.lora", "--model", "embedded", "--fine-tune-type=dpo"],
    ],
)
def test_a_command_of_another_trainer_is_refused(typed: list[str]) -> None:
    """`mlx_lm.dwq` was read as the options of mlx_lm.lora."""
    with pytest.raises(UsageError, match=r"(DWQ|GRPO|DPO) needs"):
        command.arguments_of(typed)


def test_a_folder_of_that_name_is_no_method() -> None:
    """Only programs and the options that name methods are looked at."""
    typed = ["mlx_lm.lora", "--model", "dpo", "--data", "grpo", "--train"]
    assert command.arguments_of(typed) == tuple(typed[1:])


def test_the_commands_refuse_it_alike() -> None:
    """`estimate` and `qualify` both end as wrong usage, with the same reason."""
    for words in (
        ["estimate", "embedded", "--fine-tune-type", "dpo"],
        ["qualify", "mlx_lm.dwq", "--model", "embedded"],
    ):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, UsageError)
        assert done.exception.exit_code == ExitCode.USAGE
        assert "which is not predicted" in str(done.exception)


@pytest.mark.parametrize("words", [[], ["lora_config.yaml"], ["--model", "x", "--train"]])
def test_other_words_are_no_method(words: list[str]) -> None:
    """A command without a word, and those of mlx_lm.lora, are nobody's method."""
    methods.refuse_command(words)
