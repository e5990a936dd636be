"""An axolotl file is judged as the same run of mlx_lm.lora, as far as `export` writes it."""

from __future__ import annotations

from pathlib import Path

import yaml

from mlx_preflight.frameworks import configs
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.training.command import command_line
from mlx_preflight.training.training_run import read_run
from tests.training.conftest import Judge, Write, failed

MODEL = str(EMBEDDED_FOLDER)


def write(folder: Path, **changes: object) -> None:
    """Write both files of the same run, as `fit --write` does."""
    settings = Settings(
        batch_size=2, max_seq_length=128, num_layers=2, rank=4, bits=None, dtype="float32"
    )
    configs.write(folder, MODEL, settings, source.find(MODEL).config, "a test", print, "data")
    path = folder / "axolotl.yml"
    document = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump(document))


def test_both_files_of_one_run_are_the_same_run(write_run: Write, tmp_path: Path) -> None:
    """What decides memory, batches and adapters is equal, and axolotl starts its own file."""
    context = write_run()
    write(tmp_path / "run")
    names = ("batch_size", "max_seq_length", "num_layers", "grad_checkpoint", "lora_parameters")
    (tmp_path / "lora_config.yaml").write_text((tmp_path / "run/lora_config.yaml").read_text())
    one = read_run(context)
    context = write_run(text=(tmp_path / "run/axolotl.yml").read_text(), config="axolotl.yml")
    other = read_run(context)
    assert {name: other.settings[name] for name in names} == {
        name: one.settings[name] for name in names
    }
    assert other.settings["data"] == one.settings["data"] == "data"
    assert other.settings["iters"] == 3  # an epoch: six rows in batches of two
    assert command_line((), context) == "axolotl train axolotl.yml"


def test_an_exported_file_passes_and_an_unknown_key_does_not(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """A key that is not translated is named, as one that mlx-lm never reads."""
    write(tmp_path / "run")
    text = (tmp_path / "run/axolotl.yml").read_text()
    context = write_run(text=text, config="axolotl.yml")
    assert failed(judge_run(context, "run1-config")) == set()
    context = write_run(text=text + "lora_on_cpu: true\n", config="other.yml")
    checks = judge_run(context, "run1-config")
    assert failed(checks) == {"RUN1.2"}
    assert "lora_on_cpu" in checks["RUN1.2"].reason
