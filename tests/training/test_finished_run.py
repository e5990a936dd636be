"""Adapter folders on disk: what is read of them, and what is refused before mlx loads them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_preflight.core.errors import BlockedError, CheckpointError
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan.adapter_base import base_of
from mlx_preflight.plan.options import FinishRequest, RunOptions
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import finished_run, trials

SETTINGS: dict[str, Any] = {
    "model": str(EMBEDDED_FOLDER),
    "fine_tune_type": "lora",
    "num_layers": 1,
    "iters": 20,
    "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0},
}


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """Folder as mlx_lm.lora writes it, with two numbered saves."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    for name, value in (("", 1.0), ("0000010_", 1.0), ("0000015_", 2.0)):
        tensors = {"model.layers.3.self_attn.q_proj.lora_a": mx.full((128, 2), value)}
        mx.save_safetensors(str(folder / f"{name}adapters.safetensors"), tensors)
    return folder


def context(adapters: Path, **options: Any) -> Context:
    """Return the context in which an adapter is judged."""
    asked = FinishRequest(str(adapters), **options)
    return Context.of(adapters.parent, ProjectSettings(), finish=asked, note=lambda _: None)


def test_a_folder_is_read_with_its_saves(adapters: Path) -> None:
    """The last save equals the numbered one of iteration 10 of 20, though a newer one is there."""
    run = finished_run.read(context(adapters))
    assert (run.kind, run.parameters, run.iteration) == ("lora", 256, 10)
    assert "iteration 10 of 20" in finished_run.save_line(run)


def remove(name: str) -> Callable[[Path], None]:
    """Return what removes a file."""
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes, *, without: str = "") -> Callable[[Path], None]:
    """Return what writes a file, and removes another one."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)
        if without:
            (folder / without).unlink()

    return change


def pipe(folder: Path) -> None:
    """Replace the adapters by a pipe, which nobody writes to."""
    (folder / "adapters.safetensors").unlink()
    os.mkfifo(folder / "adapters.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove("adapter_config.json"), "no adapter_config.json"),
        (remove("adapters.safetensors"), "0000015_adapters.safetensors"),
        (write("adapters.npz", b"PK", without="adapters.safetensors"), "mlx-lm before"),
        (write("adapter_model.bin", b"\x80", without="adapters.safetensors"), "pickled"),
        (write("adapters.safetensors", b""), "is empty"),
        (write("adapters.safetensors", b"\x80\x04K\x01."), "begins with"),
        (write("adapters.safetensors", b"\x02\0\0\0\0\0\0\0{}"), "holds no tensor"),
        (write("adapter_config.json", b"{"), "not valid JSON"),
        (write("adapter_config.json", b'{"num_layers": 1, "lora_parameters": {}}'), "rank"),
        (pipe, "regular file"),
    ],
)
def test_a_broken_folder_is_named(
    adapters: Path, change: Callable[[Path], None], said: str
) -> None:
    """By the file, and at once."""
    change(adapters)
    with pytest.raises(CheckpointError, match=said):
        finished_run.read(context(adapters))
    with pytest.raises(BlockedError, match=r"FINISH1\.1"):
        finished_run.require(context(adapters))


def base(adapters: Path, **options: Any) -> finished_run.Base:
    """Return the base of an adapter."""
    judged = context(adapters, **options)
    return finished_run.find_base(judged, finished_run.read(judged))


def test_a_cut_adapter_is_not_downloaded_again(adapters: Path) -> None:
    """It was trained: a numbered save helps, or another training."""
    with (adapters / "adapters.safetensors").open("r+b") as stream:
        stream.truncate(60)
    with pytest.raises(CheckpointError, match="truncated") as found:
        finished_run.read(context(adapters))
    assert "train again" in found.value.hint


def test_a_copy_of_the_base_is_the_base(adapters: Path, tmp_path: Path) -> None:
    """Files decide and not folders."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy")
    assert base(adapters).difference == ""
    assert base(adapters, model="copy").difference == ""


def test_another_model_of_the_same_shapes_is_not_the_base(adapters: Path, tmp_path: Path) -> None:
    """One weight suffices."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "weights are not those" in base(adapters, model="copy").difference


def test_a_base_that_is_gone_is_compared_by_name(adapters: Path, tmp_path: Path) -> None:
    """The folder or repository may be elsewhere now, under the same name."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "Tiny-1B")
    stored = {**SETTINGS, "model": "owner/tiny-1b"}
    (adapters / "adapter_config.json").write_text(json.dumps(stored), encoding="utf-8")
    assert base(adapters, model="Tiny-1B").difference == ""
    stored["model"] = "owner/other"
    (adapters / "adapter_config.json").write_text(json.dumps(stored), encoding="utf-8")
    assert "'owner/other'" in base(adapters, model="Tiny-1B").difference


def test_no_base_is_blocked(adapters: Path) -> None:
    """Nothing is assumed where the folder names none, or one that is not here."""
    for model in (None, "", "/no/such/folder"):
        stored = {**SETTINGS, "model": model}
        (adapters / "adapter_config.json").write_text(json.dumps(stored), encoding="utf-8")
        with pytest.raises(BlockedError) as caught:
            base(adapters)
        assert "--model" in caught.value.hint


def test_the_profile_is_that_of_the_base(adapters: Path) -> None:
    """The embedded model by its folder is `embedded`; what names nothing stands for itself."""
    assert base_of(adapters) == "embedded"
    assert RunOptions(adapter=str(adapters)).choice()["model"] == "embedded"
    assert RunOptions(adapter=str(adapters), model="./mine").choice()["model"] == "./mine"
    assert base_of(adapters.parent) == str(adapters.parent)


def test_the_distance_of_logits(tmp_path: Path) -> None:
    """A share of the first ones, over all sequences; what is not finite is said."""
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    np.savez(one, a=np.full((2, 3), 2.0), b=np.full((1, 3), 2.0))
    np.savez(two, a=np.full((2, 3), 2.0), b=np.full((1, 3), 5.0))
    found = trials.distance(one, two)
    assert found.share == pytest.approx((27 / 36) ** 0.5)
    assert found.largest == 3.0
    np.savez(two, a=np.full((2, 3), np.nan), b=np.full((1, 3), 5.0))
    assert not trials.distance(one, two).finite
    np.savez(two, a=np.full((2, 4), 2.0), b=np.full((1, 4), 5.0))
    with pytest.raises(BlockedError, match="3 and 4 tokens"):
        trials.distance(one, two)
