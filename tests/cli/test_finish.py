"""`finish` as a person types it, on adapters that mlx_lm.lora trained on the embedded model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from adapter_faults import FAULTS, Fault, change_config
from adapter_faults import sample as plant
from adapter_samples import CLEAN, fuse, train
from finished_adapters import findings, finish

from mlx_preflight.models.catalog import EMBEDDED_FOLDER, EMBEDDED_ROWS
from mlx_preflight.plan import register

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of trained and fused samples, by the bits of their base."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def sample(kept: Path, tmp_path: Path) -> Path:
    """Copy of a sample in which nothing is wrong."""
    folder = tmp_path / "sample"
    plant(kept, folder, Fault("", lambda _folder: []))
    return folder


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as it is typed."""
    command = [sys.executable, "-m", "mlx_preflight", "finish", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        *("wrong scale", "wrong scale, config named", "wrong base", "dead adapter", "NaN"),
        *("other rank", "fused with another scale", "fused in 4 bits, base in float32"),
        "fused with another template",
    ],
)
def test_a_planted_fault_is_named_by_its_check(kept: Path, tmp_path: Path, name: str) -> None:
    """Not usable, exit 1, and the check that is about it says what is wrong.

    `benchmarks/finished_adapters.py` plants the others, too.
    """
    fault = FAULTS[name]
    arguments = plant(kept, tmp_path / "sample", fault)
    document = finish(tmp_path / "sample", *arguments)
    assert document["usable"] is False
    assert document["exit_code"] == 1
    found = findings(document)
    assert fault.check in found, found
    assert fault.words in found[fault.check]


@pytest.mark.parametrize("name", ["DoRA", "full", "base of 4 bits"])
def test_a_clean_adapter_passes(tmp_path: Path, name: str) -> None:
    """Beside plain LoRA: magnitudes, whole blocks, and a base that is fused in four bits."""
    folder = fuse(train(tmp_path / "run", **CLEAN[name]))
    document = finish(folder, "--config", "run.yaml", "--fused", "fused")
    assert document["report"]["findings"] == []
    assert document["usable"] is True


def test_the_screen_says_usable_first(sample: Path) -> None:
    """One sentence, then what was measured; the run is in the history."""
    done = typed(sample, "adapters", "--fused", "fused")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("USABLE  adapters on base")
    assert "loss" in done.stdout
    assert "token by token" in done.stdout
    assert "recorded" in done.stderr
    report = json.loads((sample / ".preflight" / "report.json").read_text("utf-8"))
    assert {row["evidence"] for row in report["rows"]} == {"static", "target"}
    measured = {m["name"] for row in report["rows"] for m in row["measurements"]}
    assert {"base_loss", "adapter_loss", "logits_change", "largest_change"} <= measured


def test_no_row_reaches_a_file(sample: Path) -> None:
    """Neither a prompt nor a row of the data is in what is left."""
    typed(sample, "adapters")
    kept = [path for path in (sample / ".preflight").rglob("*") if path.is_file()]
    texts = [path.read_text("utf-8", errors="replace") for path in kept]
    assert texts
    assert not any("counts its digits" in text or "def " in text for text in texts)


def test_the_embedded_base_is_embedded_evidence(sample: Path) -> None:
    """A path to it, as mlx_lm needs it, is the same model."""
    change_config(sample, model=str(EMBEDDED_FOLDER))
    document = finish(sample)
    rows = document["report"]["rows"]
    assert {row["evidence"] for row in rows} == {"static", "embedded"}
    assert document["usable"] is True


def test_without_held_out_rows_the_loss_is_blocked(sample: Path) -> None:
    """Nothing is assumed, and the remedy names the option; everything else is judged."""
    change_config(sample, data="no-such-folder")
    document = finish(sample)
    assert document["exit_code"] == 3
    [row] = document["report"]["findings"]
    assert (row["id"], row["status"]) == (register.FINISH2_3, "BLOCKED")
    assert "--data" in row["remedy"]


def test_rows_that_are_named_take_the_place_of_the_runs(sample: Path) -> None:
    """Also a single row, which is less than a batch."""
    (sample / "mine").mkdir()
    row = (EMBEDDED_ROWS / "valid.jsonl").read_text("utf-8").splitlines()[0]
    (sample / "mine" / "valid.jsonl").write_text(row + "\n", "utf-8")
    document = finish(sample, "--data", "mine")
    [loss] = [r for r in document["report"]["rows"] if r["id"] == register.FINISH2_3]
    assert "1 held-out rows" in loss["reason"]


def test_broken_rows_are_blocked_without_their_content(sample: Path) -> None:
    """The kind of the error is told, and what shows the place."""
    (sample / "mine").mkdir()
    (sample / "mine" / "valid.jsonl").write_text('{"messages": "secret"\n', "utf-8")
    document = finish(sample, "--data", "mine")
    found = findings(document, "BLOCKED")
    assert "JSONDecodeError" in found[register.FINISH2_3]
    assert "secret" not in json.dumps(document)


def test_an_adapter_that_names_no_base_here_is_blocked(sample: Path) -> None:
    """A folder of another machine; --model names where it is now."""
    change_config(sample, model="/elsewhere/base")
    document = finish(sample)
    assert document["exit_code"] == 3
    assert register.FINISH1_2 in findings(document, "BLOCKED")
    assert finish(sample, "--model", "base")["usable"] is True


def test_an_adapter_cannot_make_us_download(sample: Path) -> None:
    """A hub set that only adapter_config.json names is not loaded."""
    change_config(sample, data="owner/name")
    found = findings(finish(sample), "BLOCKED")
    assert "not here" in found[register.FINISH2_3]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"fine_tune_type": "magic"}, "'magic'"),
        ({"num_layers": "many"}, "num_layers"),
        ({"lora_parameters": None}, "lora_parameters"),
        ({"lora_parameters": {"rank": 8, "scale": 1e400, "dropout": 0.0}}, "scale"),
        ({"peft_type": "LORA"}, "PEFT"),
    ],
)
def test_settings_that_cannot_be_are_named(sample: Path, keys: dict[str, Any], said: str) -> None:
    """The folder is refused before mlx loads anything of it."""
    change_config(sample, **keys)
    found = findings(finish(sample))
    assert said in found[register.FINISH1_1]


@pytest.mark.parametrize(("name", "said"), [("nowhere", "not found"), ("run.yaml", "no folder")])
def test_what_is_no_adapter_folder_fails(sample: Path, name: str, said: str) -> None:
    """One FAIL that says so, and nothing else is judged; never a traceback."""
    done = typed(sample, name)
    assert done.returncode == 1
    assert done.stdout.startswith("NOT USABLE")
    assert said in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_that_was_stopped_says_at_which_save(sample: Path) -> None:
    """The last save equals a numbered one before the end."""
    adapters = sample / "adapters"
    shutil.copy(adapters / "0000006_adapters.safetensors", adapters / "adapters.safetensors")
    rows = finish(sample)["report"]["rows"]
    [files] = [row for row in rows if row["id"] == register.FINISH1_1]
    assert "iteration 6 of 12" in files["reason"]


def test_a_session_runs_alone(sample: Path) -> None:
    """As nox starts it, with the adapter as an option; without one it says what is missing."""
    command = [sys.executable, "-m", "mlx_preflight", "check", register.FINISH1_ADAPTER]
    for options, code, said in ((["--adapter", "adapters"], 0, "PASS"), ([], 3, "no adapter")):
        done = subprocess.run(
            [*command, *options], cwd=sample, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert said in done.stdout
