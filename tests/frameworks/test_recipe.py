"""Configuration files: one run, each framework's own names."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlx import nn, optimizers
from mlx_lm import lora
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import PreflightError, UsageError
from mlx_preflight.frameworks import framework, recipe, rows
from mlx_preflight.memory import architecture
from mlx_preflight.memory.settings import OPTIMIZERS, Settings
from mlx_preflight.models import source as sources


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


SMALL = ("embedded", "--num-layers", "4", "--max-seq-length", "128")
TRAINABLE = ("qwen2.5-coder-7b", "phi-4", "gemma-3-27b")


def export(out: Path, *arguments: str) -> str:
    """Export to a file and return its text, or the message of the error."""
    done = CliRunner().invoke(app, ["export", *arguments, "--out", str(out)])
    if done.exception is None:
        return out.read_text(encoding="utf-8")
    assert isinstance(done.exception, PreflightError), done.output
    assert not out.exists()
    return str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SMALL, "--framework", "mlx-lm", "--rank", "0"), "rank is 0"),
        ((*SMALL, "--framework", "mlx-lm", "--optimizer", "foo"), "optimizer is 'foo'"),
        ((*SMALL, "--framework", "mlx-lm", "--lora-keys", "foo"), "keys is 'foo'"),
        ((*SMALL, "--framework", "peft", "--learning-rate", "inf"), "learning_rate is inf"),
        ((*SMALL, "--framework", "peft", "--learning-rate", "0"), "learning_rate is 0"),
        (("embedded", "--framework", "mlx-lm"), "max_seq_length is 2048"),
        (("qwen2.5-coder-7b", "--num-layers", "99", "--framework", "axolotl"), "num_layers is 99"),
        (
            (*SMALL, "--framework", "mlx-lm", "--bits", "16", "--dtype", "float16"),
            "allowed: float32, the type that the unquantized weights are stored in",
        ),
        ((*SMALL, "--framework", "axolotl", "--bits", "3"), "allowed: 4, 8, 16 for axolotl"),
        ((*SMALL, "--framework", "peft", "--bits", "8"), "allowed: 4, 16 for Hugging Face PEFT"),
        ((*SMALL, "--framework", "axolotl", "--group-size", "32"), "allowed: 64 for axolotl"),
        ((*SMALL, "--framework", "peft", "--optimizer", "muon"), "optimizer is 'muon'"),
    ],
)
def test_what_a_framework_cannot_be_told_is_refused_by_name(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """A setting is never dropped in silence: three bits are not written as unquantized."""
    assert said in export(tmp_path / "run.yaml", *arguments)


def test_weights_that_mlx_quantized_are_for_mlx_lm_alone() -> None:
    """PyTorch cannot read them, and MLX-LM trains them as they are stored."""
    run = recipe.embedded()
    stored = {**run.config, "quantization": {"bits": 4, "group_size": 64}}
    four = dataclasses.replace(recipe.in_four_bits(run, 3), config=stored)
    assert yaml.safe_load(recipe.text(framework.find("mlx-lm"), four))["model"] == run.model
    for name in ("axolotl", "peft"):
        with pytest.raises(UsageError, match="cannot read weights that MLX has quantized"):
            recipe.text(framework.find(name), four)
    eight = dataclasses.replace(four, settings=dataclasses.replace(four.settings, bits=8))
    with pytest.raises(UsageError, match="bits is 8; allowed: 4, as the weights are quantized"):
        recipe.text(framework.find("mlx-lm"), eight)


@pytest.mark.parametrize("model", TRAINABLE)
def test_the_linear_layers_are_those_of_the_architecture(model: str, tmp_path: Path) -> None:
    """Each name is a linear layer of a block as mlx_lm builds it, and none is left out."""
    source = sources.find(model)
    built = architecture.build(source.config, Settings(bits=None))
    names = {
        path.rpartition(".")[2]
        for path, module in built.layers[0].named_modules()
        if isinstance(module, nn.Linear)
    }
    for name in ("axolotl", "peft"):
        file = yaml.safe_load(export(tmp_path / f"{name}.yaml", model, "--framework", name))
        listed = file["lora_target_modules" if name == "axolotl" else "lora"]
        listed = listed if name == "axolotl" else listed["target_modules"]
        assert set(listed) == names
    other = dataclasses.replace(recipe.embedded(), config={"model_type": "gpt2"})
    with pytest.raises(UsageError, match="'gpt2' are not known"):
        recipe.text(framework.find("peft"), other)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlx_lm_knows_every_key_and_makes_the_optimizer(optimizer: str, tmp_path: Path) -> None:
    """A misspelt key would be taken in silence, so all are compared with its defaults."""
    file = tmp_path / "lora_config.yaml"
    text = export(file, *SMALL, "--framework", "mlx-lm", "--optimizer", optimizer)
    document = yaml.safe_load(text)
    assert set(document) <= set(lora.CONFIG_DEFAULTS)
    options = document.get("optimizer_config", {}).get(optimizer, {})
    getattr(optimizers, OPTIMIZERS[optimizer])(learning_rate=1e-5, **options)


@pytest.mark.slow
def test_mlx_lm_trains_with_the_exported_file(tmp_path: Path) -> None:
    """First the conversion that the file names, then its own command on the file."""
    file = tmp_path / "lora_config.yaml"
    options = ("--optimizer", "adafactor", "--steps", "2", "--batch-size", "1")
    text = export(file, *SMALL, "--framework", "mlx-lm", "--group-size", "32", *options)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(rows.jsonl(rows.generate(2)))
    command = next(line for line in text.splitlines() if "mlx_lm.convert" in line)
    for argv in (shlex.split(command)[1:], ["mlx_lm.lora", "-c", str(file)]):
        module = [sys.executable, "-m", *argv]
        done = subprocess.run(module, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapters" / "adapters.safetensors").is_file()
    stored = json.loads((tmp_path / "model-quantized" / "config.json").read_text())
    assert stored["quantization"]["group_size"] == 32


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
    assert framework.names()[0] == framework.REFERENCE
    assert "null" not in framework.names()
    assert not framework.find("null").FRAMEWORK.candidate
