"""The search for settings that fit, and the configs that it writes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import model_configs
import pytest
import yaml
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import UsageError
from mlx_preflight.frameworks import configs
from mlx_preflight.memory import fit
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import checkpointing
from mlx_preflight.memory.settings import Settings, working_set_note
from mlx_preflight.models import source
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from tests.memory.models import small

CONFIG = source.find("embedded").config
WANTED = Settings(batch_size=4, max_seq_length=512, num_layers=4, dtype="float32")


@pytest.fixture(scope="module")
def whole() -> int:
    """Return what the wanted settings take at most, in bytes."""
    return predict(CONFIG, WANTED).peak_high_bytes


@pytest.mark.slow
def test_what_fits_gives_up_nothing(whole: int) -> None:
    """With room enough the wanted settings are the answer, at no cost."""
    found = fit.fit(CONFIG, WANTED, whole)
    assert [(item.settings, item.given_up, item.cost) for item in found.fits] == [(WANTED, (), 0)]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.75, 0.4, 0.25])
def test_every_answer_fits_and_costs_what_it_says(whole: int, share: float) -> None:
    """The upper end is within the budget; answers come cheapest first; batches accumulate."""
    budget = int(whole * share)
    found = fit.fit(CONFIG, WANTED, budget)
    assert found.fits
    assert [item.cost for item in found.fits] == sorted(item.cost for item in found.fits)
    for item in found.fits:
        assert item.prediction.peak_high_bytes <= budget
        assert predict(CONFIG, item.settings).peak_bytes == item.prediction.peak_bytes
        effective = item.settings.batch_size * item.settings.grad_accumulation_steps
        assert effective == WANTED.batch_size
        assert item.given_up


@pytest.mark.slow
def test_what_is_kept_is_kept(whole: int) -> None:
    """A setting that the user will not give up is the same in every answer."""
    found = fit.fit(CONFIG, WANTED, int(whole * 0.4), keep=["max_seq_length", "grad_checkpoint"])
    assert found.fits
    for item in found.fits:
        assert item.settings.max_seq_length == 512
        assert not item.settings.grad_checkpoint


@pytest.mark.slow
def test_nothing_fits_says_how_far_the_smallest_is(whole: int) -> None:
    """No answer, and the smallest settings with their need; the command exits 1."""
    found = fit.fit(CONFIG, WANTED, 1_000_000)
    assert found.fits == ()
    assert 1_000_000 < found.smallest.peak_high_bytes < whole
    arguments = ["fit", "embedded", "--budget-gb", "0.001", "--num-layers", "4"]
    done = CliRunner().invoke(app, [*arguments, "--max-seq-length", "512"])
    assert done.exit_code == 1
    assert "nothing fits" in done.output
    assert "needs" in done.output


@pytest.mark.slow
def test_the_reference_task_fits_sixteen_gigabytes() -> None:
    """Qwen2.5-Coder-7B in 4 bit fits 16 GB on Metal with whole rows of 2048 tokens."""
    arguments = ["fit", "qwen2.5-coder-7b", "--budget-gb", "16", "--backend", "metal", "--json"]
    more = ["--batch-size", "1", "--keep", "max_seq_length,num_layers,rank,bits"]
    found = json.loads(CliRunner().invoke(app, [*arguments, *more]).output)
    best = found["fits"][0]
    assert best["settings"]["max_seq_length"] == 2048
    assert best["settings"]["num_layers"] == 16
    assert best["peak_high_bytes"] <= 16e9


@pytest.mark.slow
def test_rows_are_cut_no_further_than_needed(whole: int) -> None:
    """The longest row fits, and one that is 32 tokens longer does not."""
    budget = int(whole * 0.7)
    kept = ["batch_size", "grad_checkpoint", "num_layers", "rank", "bits"]
    found = fit.fit(CONFIG, WANTED, budget, keep=kept)
    (best,) = found.fits
    row = best.settings.max_seq_length
    assert row % fit.ROW_STEP == 0
    longer = dataclasses.replace(best.settings, max_seq_length=row + fit.ROW_STEP)
    assert predict(CONFIG, longer).peak_high_bytes > budget


@pytest.mark.slow
def test_a_candidate_that_cannot_be_traced_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gptj cannot be traced with checkpointing; other ways to fit it are found."""
    config = model_configs.config_of("gptj")
    wanted = small(batch_size=2, max_seq_length=257)

    def checkpointed(model: object, *_: object) -> None:
        raise UsageError("no simple chain")

    monkeypatch.setattr(checkpointing, "value_and_gradient", checkpointed)
    budget = predict(config, wanted).peak_high_bytes * 2 // 3
    found = fit.fit(config, wanted, budget, keep=["num_layers", "rank", "bits"])
    assert found.fits
    assert not any(item.settings.grad_checkpoint for item in found.fits)
    assert found.smallest.settings.grad_checkpoint is False


@pytest.mark.slow
def test_experts_keep_their_rows_where_the_attention_alone_fits() -> None:
    """Adapters of the attention only come before shorter rows."""
    config = model_configs.config_of("mixtral")
    wanted = small(batch_size=1, max_seq_length=257, rank=64, bits=4)
    high = predict(config, wanted).peak_high_bytes
    found = fit.fit(config, wanted, high - 1, keep=["grad_checkpoint", "bits"])
    best = found.fits[0]
    assert best.settings.keys
    assert all("attn" in key for key in best.settings.keys)
    assert best.settings.max_seq_length == 257
    assert best.given_up == ("keys default to those of the attention",)


@pytest.mark.slow
def test_the_reference_task_takes_few_predictions() -> None:
    """A search was 40 to 60 of them; each takes about a second."""
    asked: list[str] = []
    config = source.find("qwen2.5-coder-7b").config
    wanted = Settings(backend="metal")
    found = fit.fit(config, wanted, 16 * 10**9, note=asked.append)
    assert found.fits
    assert len(asked) <= 12


def test_a_mac_works_with_less_than_its_ram() -> None:
    """Whoever asks for 16 GB is told what a 16 GB Mac has; for other sizes there is no note."""
    assert "works with 11.45 GB" in working_set_note(16 * 10**9, "metal")
    assert "--budget-gb 11.45" in working_set_note(16 * 10**9, "metal")
    assert working_set_note(16 * 10**9, "cpu") == working_set_note(11 * 10**9, "metal") == ""


@pytest.mark.parametrize("keys", [None, ("self_attn.q_proj", "self_attn.v_proj")])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_written_configs_are_what_the_trainers_read(
    tmp_path: Path, bits: int | None, keys: tuple[str, ...] | None
) -> None:
    """mlx_lm knows every key with its own parser and types; axolotl's fields agree."""
    from mlx_lm import lora

    settings = Settings(
        batch_size=2, grad_checkpoint=True, bits=bits, keys=keys, num_layers=3, dtype="float32"
    )
    paths = configs.write(tmp_path / "run", "owner/name", settings, CONFIG, "head")
    text = paths[0].read_text()
    document = yaml.load(text, lora.yaml_loader)  # noqa: S506  (mlx_lm's own loader)
    assert set(document) <= set(lora.CONFIG_DEFAULTS)
    for key, value in document.items():
        default = lora.CONFIG_DEFAULTS[key]
        assert type(value) is type(default), key
    assert document["num_layers"] == 3
    assert document["lora_parameters"].get("keys") == (list(keys) if keys else None)
    assert ("mlx_lm.convert" in text) is (bits is not None)
    other = yaml.safe_load(paths[1].read_text())
    assert other["peft_layers_to_transform"] == [1, 2, 3]
    assert other["load_in_4bit"] is (bits == 4)
    assert other["lora_alpha"] / other["lora_r"] == document["lora_parameters"]["scale"]
    assert other["micro_batch_size"] == document["batch_size"]


def test_bits_that_axolotl_lacks_leave_its_file_out(tmp_path: Path) -> None:
    """Six bits are written for MLX-LM alone, and somebody is told why."""
    said: list[str] = []
    settings = Settings(bits=6, dtype="float32")
    paths = configs.write(tmp_path, "owner/name", settings, CONFIG, "head", said.append)
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in paths]
    assert [path.name for path in paths] == ["lora_config.yaml"]
    assert said == ["axolotl.yml is not written: bits is 6; allowed: 4, 8, 16 for axolotl"]


def test_a_config_without_weights_is_no_model_to_train(tmp_path: Path) -> None:
    """A training file names weights or a hub id, never a config.json."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    with pytest.raises(UsageError, match="no weights to train"):
        _ = source.find(str(config)).place
    assert source.find("embedded").place == str(EMBEDDED_FOLDER)
    assert source.find("qwen2.5-coder-7b").place == "Qwen/Qwen2.5-Coder-7B-Instruct"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A config that is there stays."""
    (tmp_path / "axolotl.yml").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        configs.write(tmp_path, "owner/name", Settings(), CONFIG, "head")
    assert [path.name for path in tmp_path.iterdir()] == ["axolotl.yml"]


@pytest.mark.slow
def test_mlx_lm_trains_with_the_written_config(tmp_path: Path) -> None:
    """`mlx_lm.lora -c` runs two steps of the embedded model from the file as written."""
    settings = Settings(batch_size=1, max_seq_length=64, num_layers=4, bits=None, dtype="float32")
    path, _ = configs.write(tmp_path, str(EMBEDDED_FOLDER), settings, CONFIG, "head")
    (tmp_path / "data").mkdir()
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    for name in ("train", "valid"):
        (tmp_path / "data" / f"{name}.jsonl").write_text(f"{json.dumps(row)}\n" * 4)
    done = subprocess.run(
        [sys.executable, "-m", "mlx_lm", "lora", "-c", str(path), "--iters", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapters" / "adapters.safetensors").is_file()
