"""Configuration files: one run, each framework's own names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mlx_preflight.cli import app
from mlx_preflight.errors import UsageError
from mlx_preflight.frameworks import framework, recipe


def test_every_file_is_yaml_and_says_the_same_run() -> None:
    """Rank, scale, rate, steps, rows and layers agree once the conventions are mapped."""
    run = dataclasses.replace(recipe.embedded(), learning_rate=1e-5)
    files = {
        name: yaml.safe_load(recipe.text(framework.find(name), run)) for name in framework.names()
    }
    mlx, axolotl, peft = files["mlx-lm"], files["axolotl"], files["peft"]
    lora, training = peft["lora"], peft["training"]
    scale = mlx["lora_parameters"]["scale"]
    assert scale == axolotl["lora_alpha"] / axolotl["lora_r"] == lora["lora_alpha"] / lora["r"]
    assert mlx["lora_parameters"]["rank"] == axolotl["lora_r"] == lora["r"] == 8
    rates = (mlx["learning_rate"], axolotl["learning_rate"], training["learning_rate"])
    assert rates == (1e-5, 1e-5, 1e-5)
    assert mlx["iters"] == axolotl["max_steps"] == training["max_steps"] == 20
    sizes = (mlx["max_seq_length"], axolotl["sequence_len"], training["max_length"])
    assert sizes == (128, 128, 128)
    assert axolotl["peft_layers_to_transform"] == lora["layers_to_transform"] == [0, 1, 2, 3]
    assert mlx["optimizer_config"] == {"adam": {"bias_correction": True}}
    assert not any(axolotl[name] for name in ("lora_mlp_kernel", "bf16", "flash_attention"))


@pytest.mark.parametrize("name", framework.names())
def test_four_bits_are_asked_for_in_each_framework(name: str) -> None:
    """The 4-bit run differs from the other one in the base model's precision."""
    plugin, run = framework.find(name), recipe.embedded()
    text = recipe.text(plugin, recipe.in_four_bits(run, 3))
    assert ("load_in_4bit: true" in text) or ("./model-quantized" in text)
    assert "load_in_4bit: true" not in recipe.text(plugin, run)


@pytest.mark.parametrize("name", framework.names())
def test_export_writes_the_file_that_the_comparison_trains_with(name: str, tmp_path: Path) -> None:
    """The command line with the comparison's settings gives its file, byte for byte."""
    out = tmp_path / "run.yaml"
    settings = {
        "--bits": "16",
        "--backend": "cpu",
        "--steps": "20",
        "--learning-rate": "0.001",
        "--batch-size": "2",
        "--max-seq-length": "128",
        "--num-layers": "4",
    }
    options = [part for pair in settings.items() for part in pair]
    command = ["export", "embedded", "--framework", name, "--out", str(out), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert out.read_text() == recipe.text(framework.find(name), recipe.embedded())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that is there stays."""
    path = tmp_path / "lora_config.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        recipe.write(framework.find("mlx-lm"), recipe.embedded(), path)
    assert path.read_text() == "mine"


def test_an_unknown_framework_suggests_the_nearest() -> None:
    """A misspelt name is an error."""
    with pytest.raises(UsageError, match="'axolotl'"):
        framework.find("axolotle")


def test_the_null_framework_is_not_compared() -> None:
    """The reference comes first, and what trains nothing is no candidate."""
    assert framework.names() == ("mlx-lm", "axolotl", "peft")
    assert not framework.find("null").FRAMEWORK.candidate
