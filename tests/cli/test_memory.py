"""estimate, measure and fit as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory import calibration
from mlx_preflight.memory.settings import WORKING_SETS
from mlx_preflight.models import catalog, source
from mlx_preflight.models.catalog import EMBEDDED_FOLDER

ONE = ("--batch-size", "1", "--max-seq-length", "512", "--backend", "metal")
SMALL = ("embedded", "--batch-size", "1", "--max-seq-length", "128", "--num-layers", "4")


def call(*arguments: str) -> tuple[int, str]:
    """Run a command that must not raise, and return exit code and output."""
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return done.exit_code, done.stdout


def refuse(*arguments: str) -> str:
    """Run a command that must end in the package's own error, and return its message."""
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, PreflightError), done.output
    assert done.exception.exit_code == 2
    return str(done.exception)


def test_an_estimate_is_one_document_with_the_promised_keys() -> None:
    """Programs find peak, interval, counts, breakdown, settings and headroom."""
    code, out = call("estimate", "qwen2.5-coder-7b", *ONE, "--budget-gb", "16", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["peak_low_bytes"] < found["peak_bytes"] < found["peak_high_bytes"]
    assert found["parameters"] == 7_615_616_512
    assert found["trainable_parameters"] == 11_534_336
    assert found["headroom_bytes"] == 16 * 10**9 - found["peak_high_bytes"]
    assert sum(found["breakdown_bytes"].values()) == found["peak_bytes"]
    assert (found["backend"], found["evidence"]) == ("metal", "simulated")
    assert found["download_bytes"] == 15_231_233_024
    assert [mac["ram_gb"] for mac in found["macs"]] == [*WORKING_SETS]
    assert found["settings"]["max_seq_length"] == 512


def test_people_read_what_fits_where() -> None:
    """The table names peak, parts, counts, budget and Macs; over the budget exits 1."""
    code, out = call("estimate", "qwen2.5-coder-7b", *ONE, "--budget-gb", "6")
    assert code == 1
    for text in ("simulated", "weights", "7,615,616,512", "does not fit", "Mac, 16 GB", "download"):
        assert text in out


@pytest.mark.slow
def test_generation_grows_with_its_cache() -> None:
    """A longer prompt and a longer answer need more; nothing is trained."""

    def peak(*more: str) -> int:
        arguments = ("estimate", "llama-3.2-1b", "--inference", "--backend", "metal", "--json")
        document: dict[str, Any] = json.loads(call(*arguments, *more)[1])
        assert document["trainable_parameters"] == 0
        return int(document["peak_bytes"])

    assert peak("--prompt-tokens", "512") < peak("--prompt-tokens", "4096")
    short = ("--prompt-tokens", "64", "--generate-tokens")
    assert peak(*short, "64") < peak(*short, "20000")


@pytest.mark.slow
def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """The SVG holds the categories and the peak; another suffix is refused."""
    path = tmp_path / "step.svg"
    assert call("estimate", *SMALL, "--plot", str(path))[0] == 0
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    done = CliRunner().invoke(app, ["estimate", *SMALL, "--plot", str(tmp_path / "step.gif")])
    assert ".svg" in str(done.exception)
    (tmp_path / "folder.svg").mkdir()
    done = CliRunner().invoke(app, ["estimate", *SMALL, "--plot", str(tmp_path / "folder.svg")])
    assert isinstance(done.exception, PreflightError)
    assert "cannot be written" in str(done.exception)


def test_a_picture_holds_every_part_of_the_step_in_a_unit_that_shows_it(tmp_path: Path) -> None:
    """Gradients live between the peaks; 8 MB in GB would be a row of zeros."""
    path = tmp_path / "step.svg"
    assert call("estimate", *SMALL, "--grad-accumulation-steps", "2", "--plot", str(path))[0] == 0
    text = path.read_text(encoding="utf-8")
    for word in ("gradients", "MB (10", "logits and loss", "from start to end"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("estimate", "qwen2.5-coder-7"), "did you mean 'qwen2.5-coder-7b'"),
        (("estimate", "./nowhere"), "no such file"),
        (("estimate", *SMALL, "--optimizer", "adem"), "adem"),
        (("estimate", *SMALL, "--budget-gb", "0"), "budget-gb"),
        (("estimate", *SMALL, "--bits", "7"), "bits"),
        (("estimate", *SMALL[:-2], "--num-layers", "99"), "99"),
        (("estimate", "embedded", "--max-seq-length", "9999999"), "9999999"),
        (("estimate", *SMALL, "--group-size", "48"), "48"),
        (("estimate", *SMALL, "--group-size", "0"), "group_size is 0"),
        (("estimate", *SMALL, "--dtype", ""), "dtype is ''"),
        (("estimate", *SMALL, "--lora-keys", ""), "keys is ''"),
        (("estimate", *SMALL, "--budget-gb", "1e7"), "below a million"),
        (("estimate", *SMALL, "--dtype", "int8"), "int8"),
        (("estimate", *SMALL, "--lora-keys", "self_attn.nothing"), "self_attn.nothing"),
        (("fit", *SMALL, "--budget-gb", "1", "--keep", "speed"), "speed"),
        (("fit", *SMALL, "--budget-gb", "-1"), "budget-gb"),
        (("measure", *SMALL, "--memory-limit-gb", "0"), "memory-limit-gb"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments: tuple[str, ...], said: str) -> None:
    """Field, value and what is allowed stand in the message; the exit code is 2."""
    assert said in refuse(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SMALL, "--kv-bits", "8"), "training does not depend on --kv-bits"),
        (
            (
                "embedded",
                "--inference",
                "--prompt-tokens",
                "64",
                "--rank",
                "4",
                "--grad-checkpoint",
            ),
            "generation does not depend on --rank, --grad-checkpoint",
        ),
        (("embedded", "--inference", "--prompt-tokens", "64", "--kv-bits", "8"), "changes nothing"),
        (("embedded", "--inference", "--prompt-tokens", "64"), ""),
    ],
)
def test_an_option_that_changes_nothing_is_named(arguments: tuple[str, ...], said: str) -> None:
    """A setting of the other kind of run must not look as if it had been obeyed."""
    warnings = json.loads(call("estimate", *arguments, "--json")[1])["warnings"]
    assert [said in text for text in warnings] == ([True] if said else [])


def test_measuring_on_another_backend_is_refused() -> None:
    """A measurement is only possible where it is made."""
    other = "cuda" if sys.platform == "darwin" else "metal"
    assert other in refuse("measure", *SMALL, "--backend", other)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model_type": ', b"\xff\xfe", b"{}"])
def test_a_config_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, truncated, binary and meaningless configs end in a message, not a traceback."""
    (tmp_path / "config.json").write_bytes(content)
    done = CliRunner().invoke(app, ["estimate", str(tmp_path)])
    assert isinstance(done.exception, PreflightError), done.exception
    assert "config" in str(done.exception) or "model_type" in str(done.exception)


def test_a_config_file_and_its_folder_are_the_same_model() -> None:
    """A folder is read through its config.json; the size of its weights is known."""
    folder, file = (
        source.find(str(EMBEDDED_FOLDER)),
        source.find(str(EMBEDDED_FOLDER / "config.json")),
    )
    assert folder.config == file.config == source.find("embedded").config
    assert folder.folder == EMBEDDED_FOLDER
    assert folder.download_bytes == (EMBEDDED_FOLDER / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_an_unreachable_hub_names_the_built_in_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a hub id is blocked with what can be asked instead."""
    code = (
        "from mlx_preflight.models import source\n"
        "from mlx_preflight.core.errors import BlockedError\n"
        "try:\n    source.find('nobody/nothing')\n"
        "except BlockedError as error:\n    print(error.hint)\n"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "qwen2.5-coder-7b" in done.stdout


def test_built_in_models_are_found_by_either_name() -> None:
    """Every entry has a source, a unique name, and is found by name and hub id in any case."""
    models = catalog.models()
    assert len({item.name for item in models}) == len(models) >= 28
    for item in models:
        assert catalog.find(item.name) is catalog.find(item.repository.upper()) is item
        assert item.source
    assert catalog.find("qwen") is None


@pytest.mark.slow
@pytest.mark.parametrize("item", catalog.models(), ids=lambda item: item.name)
def test_built_in_counts_are_those_of_the_traced_model(item: catalog.KnownModel) -> None:
    """The lazily built model has exactly the parameters that its checkpoint is known for."""
    arguments = ("--batch-size", "1", "--max-seq-length", "64", "--backend", "metal", "--json")
    found = json.loads(call("estimate", item.name, *arguments)[1])
    assert found["parameters"] == item.parameters


@pytest.mark.slow
def test_a_measurement_stands_beside_its_prediction() -> None:
    """The real trainer ran; the prediction is within ten percent of what it took."""
    code, out = call("measure", *SMALL, "--steps", "2", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["predicted_bytes"] == pytest.approx(found["peak_bytes"], rel=0.1)
    assert found["process_peak_bytes"] > found["peak_bytes"]
    assert len(found["step_s"]) == 2
    assert "predicted" in call("measure", *SMALL, "--steps", "2")[1]


@pytest.mark.slow
def test_a_written_recipe_names_a_checkpoint_that_any_folder_finds(tmp_path: Path) -> None:
    """MLX-LM knows no `embedded`, and the recipe is run from its own folder."""
    arguments = (*SMALL, "--bits", "16", "--budget-gb", "1", "--write", str(tmp_path))
    assert call("fit", *arguments)[0] == 0
    written = (tmp_path / "lora_config.yaml").read_text("utf-8")
    assert f"model: {EMBEDDED_FOLDER.resolve()}\n" in written


def test_adapters_beside_weights_are_no_weights(tmp_path: Path) -> None:
    """MLX-LM loads model*.safetensors only, and so it is with the size of a download."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((EMBEDDED_FOLDER / "config.json").read_bytes())
    (folder / "adapters.safetensors").write_bytes(b"x" * 100)
    found = source.find(str(folder))
    assert (found.folder, found.download_bytes) == (None, None)


def test_stored_bits_are_the_ones_that_are_measured(tmp_path: Path) -> None:
    """Weights of four bits would be measured whatever was asked for."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = json.loads((EMBEDDED_FOLDER / "config.json").read_text("utf-8"))
    quantized = {**config, "quantization": {"bits": 4, "group_size": 64}}
    (folder / "config.json").write_text(json.dumps(quantized), "utf-8")
    (folder / "model.safetensors").write_bytes(b"x")
    arguments = (str(folder), *SMALL[1:], "--backend", calibration.backend(), "--bits", "8")
    assert "as the weights are stored" in refuse("measure", *arguments)


def test_a_chip_is_looked_up_before_a_search() -> None:
    """Not after it, which takes half a minute; and never left unused in silence."""
    metal = ("--max-seq-length", "256", "--backend", "metal")
    time = ("fit", "qwen2.5-coder-7b", *metal, "--budget-gb", "16", "--prefer", "time")
    assert refuse(*time, "--chip", "M4X") == "no speed is known of M4X"
    assert refuse("estimate", *SMALL, "--chip", "M1") == "--chip: only with --duration"
    cpu = ("estimate", *SMALL, "--backend", "cpu", "--duration", "9", "--chip", "M1")
    assert "is a GPU" in refuse(*cpu)


@pytest.mark.parametrize("size", ["nan", "inf", "-1", "0", "1e300"])
def test_a_budget_is_a_size(size: str) -> None:
    """Of every command that takes one."""
    for command in (("estimate", *SMALL), ("fit", *SMALL), ("rehearse", *SMALL), ("qualify",)):
        assert "budget" in refuse(*command, "--budget-gb", size)


def test_a_run_over_its_budget_gets_no_hours() -> None:
    """It pages: no figure is better than a wrong one."""
    run = ("estimate", "qwen2.5-coder-7b", *ONE, "--duration", "100", "--chip", "M1 Max")
    code, out = call(*run, "--budget-gb", "1")
    assert code == 1
    assert "time unknown" in out
    assert "duration" not in json.loads(call(*run, "--budget-gb", "1", "--json")[1])
    assert json.loads(call(*run, "--budget-gb", "64", "--json")[1])["duration"]["total_s"] > 0
