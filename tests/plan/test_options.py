"""Tests of the one declaration of the options of a run."""

from __future__ import annotations

import argparse

import pytest

from mlx_preflight.plan.options import RunOptions


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], RunOptions()),
        (["--profile", "embedded"], RunOptions(profile="embedded")),
        (
            ["--model", "./mine", "--budget-gb", "24.5"],
            RunOptions(model="./mine", budget_gb=24.5),
        ),
    ],
)
def test_what_is_parsed_is_forwarded(arguments: list[str], options: RunOptions) -> None:
    """A session hands on to `check` what it was given, and nothing else."""
    parser = argparse.ArgumentParser()
    RunOptions.add_to(parser)
    assert RunOptions.parsed(parser.parse_args(arguments)) == options
    assert options.arguments() == arguments


def test_the_flags_are_named_for_suggestions() -> None:
    """A misspelt option gets the nearest one."""
    run, finish = (
        ("--profile", "--model", "--budget-gb", "--config"),
        (
            "--adapter",
            "--data",
            "--fused",
        ),
    )
    assert RunOptions.flags() == (*run, *finish)
