"""Session run3-model: each check with the embedded model, and with a copy that is damaged."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from tests.training.conftest import Judge, Write, failed

pytestmark = pytest.mark.slow

RUN3 = register.RUN3_MODEL


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the embedded model."""
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))


@pytest.mark.parametrize("model", ["embedded", "./model", "model"])
def test_a_sound_model_passes(write_run: Write, judge_run: Judge, copied: Path, model: str) -> None:
    """Our own name, and a folder beside the config, wherever this process runs."""
    assert copied.is_dir()
    found = judge_run(write_run(model=model), RUN3)
    assert failed(found) == set()
    assert "919,680 values scanned" in found[register.RUN3_3].reason
    assert "mlx_lm.models.qwen2" in found[register.RUN3_2].reason


def test_an_absent_model_is_blocked_with_its_download(
    write_run: Write, judge_run: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its architecture is known all the same: the config is built in."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    model = "Qwen/Qwen2.5-Coder-7B-Instruct"
    found = judge_run(write_run(model=model), RUN3)
    assert found[register.RUN3_2].status is Status.PASS
    for name in (register.RUN3_1, register.RUN3_3, register.RUN3_4):
        assert found[name].status is Status.BLOCKED
        assert found[name].remedy == f"mlx-preflight download {model}"
    assert "to download" in found[register.RUN3_1].reason


def test_no_such_folder_fails(write_run: Write, judge_run: Judge) -> None:
    """A name that is neither a folder nor a hub id downloads nothing."""
    found = judge_run(write_run(model="./nowhere"), RUN3)
    assert found[register.RUN3_1].status is Status.FAIL
    assert "nowhere" in found[register.RUN3_1].reason
    assert not any(check.status is Status.PASS for check in found.values())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model_type", "bert", "bert"),
        ("model_type", "qwen22", "such as"),
        ("model_file", "modeling.py", "code of a repository is never run"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "bitsandbytes"),
    ],
)
def test_an_architecture_that_mlx_lm_lacks_fails(
    write_run: Write, judge_run: Judge, copied: Path, key: str, value: object, words: str
) -> None:
    """The refused kind is named, and what is allowed."""
    edit_json(copied / "config.json", lambda config: config.update({key: value}))
    found = judge_run(write_run(model="model"), RUN3)
    assert found[register.RUN3_2].status is Status.FAIL
    assert words in found[register.RUN3_2].reason
    assert found[register.RUN3_1].status is Status.PASS


def cut(folder: Path) -> None:
    """Leave out the end of the weights, as a broken download does."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def poison(folder: Path) -> None:
    """Make the last value NaN."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + struct.pack("<f", float("nan")))


def widen(folder: Path) -> None:
    """Let the config claim another width."""
    edit_json(folder / "config.json", lambda config: config.update(intermediate_size=1000))


def lose(folder: Path) -> None:
    """Leave out the weights, and keep a pickle."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "model.safetensors"), (poison, "NaN"), (widen, "shape"), (lose, "pickles")],
)
def test_a_damaged_checkpoint_fails(
    write_run: Write,
    judge_run: Judge,
    copied: Path,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    """Cut, poisoned, contradicting or pickled: by its check alone, without loading it."""
    damage(copied)
    found = judge_run(write_run(model="model"), RUN3)
    assert failed(found) == {register.RUN3_3}
    assert found[register.RUN3_3].status is Status.FAIL
    assert words in found[register.RUN3_3].reason


@pytest.mark.parametrize(
    ("end", "words"), [(None, "no end token"), ("<gone>", "beyond the 1,024 rows")]
)
def test_a_tokenizer_without_an_end_fails(
    write_run: Write, judge_run: Judge, copied: Path, end: str | None, words: str
) -> None:
    """No row would teach where to stop, or each would end in a token that the model lacks."""
    edit_json(copied / "tokenizer_config.json", lambda config: config.update(eos_token=end))
    found = judge_run(write_run(model="model"), RUN3)
    assert register.RUN3_4 in failed(found) <= {register.RUN3_3, register.RUN3_4}
    assert words in found[register.RUN3_4].reason


def test_a_damaged_tokenizer_fails(write_run: Write, judge_run: Judge, copied: Path) -> None:
    """What its library says is in the reason."""
    (copied / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")
    found = judge_run(write_run(model="model"), RUN3)
    assert found[register.RUN3_4].status is Status.FAIL
    assert "does not load" in found[register.RUN3_4].reason


def hide_code(folder: Path) -> Path:
    """Give a folder a tokenizer of its own code, which would leave a mark."""
    mark = folder.parent / "was-run"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Own: pass\n"
    (folder / "tokenization_own.py").write_text(code, encoding="utf-8")
    auto = {"AutoTokenizer": ["tokenization_own.Own", None]}
    edit_json(
        folder / "tokenizer_config.json",
        lambda config: config.update(auto_map=auto, tokenizer_class="Own"),
    )
    return mark


def test_code_of_a_folder_is_never_run(write_run: Write, judge_run: Judge, copied: Path) -> None:
    """What mlx_lm leaves alone is named; a run that would let it run is refused."""
    mark = hide_code(copied)
    found = judge_run(write_run(model="model"), RUN3)
    assert found[register.RUN3_4].status is Status.PASS
    assert "tokenization_own.py" in found[register.RUN3_4].reason
    found = judge_run(write_run("--trust-remote-code", model="model"), RUN3)
    assert found[register.RUN3_4].status is Status.FAIL
    assert "trust_remote_code" in found[register.RUN3_4].reason
    assert not mark.exists()


def test_an_unreadable_config_blocks(write_run: Write, judge_run: Judge) -> None:
    """The session on the configuration says why."""
    found = judge_run(write_run(text="{"), RUN3)
    assert {check.status for check in found.values()} == {Status.BLOCKED}
    assert all(check.reason.startswith(register.RUN1_1) for check in found.values())
