"""Cases of a finished run: its adapter, its base, and the model that both were fused into."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from mlx_preflight.core import child
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import Status
from mlx_preflight.models.catalog import EMBEDDED_FOLDER, EMBEDDED_ROWS
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import cut, edit_json, remove, rename, write

SETTINGS: dict[str, Any] = {
    "model": "base",
    "data": str(EMBEDDED_ROWS),
    "train": True,
    "iters": 12,
    "batch_size": 4,
    "num_layers": -1,
    "max_seq_length": 128,
    "learning_rate": 1e-3,
    "steps_per_eval": 100,
    "val_batches": 2,
    "save_every": 6,
    "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0},
}
"""A run that lowers the loss from 6.1 to about 2 (benchmarks/adapter_samples.py)."""

_TIMEOUT_S = 600.0

FOUR = ("-q", "--q-bits", "4", "--q-group-size", "32")


def mlx_lm(folder: Path, *words: str) -> None:
    """Run a program of mlx_lm.

    Raises:
        PreflightError: It failed.
    """
    done = child.run_child(
        (sys.executable, "-m", "mlx_lm", *words),
        cwd=folder,
        timeout_s=_TIMEOUT_S,
        env=child.offline_environment(),
    )
    if done.returncode:
        raise PreflightError(f"mlx_lm {words[0]}: {done.tail(3)}")


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(EMBEDDED_FOLDER, folder / "base")
    (folder / "run.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    mlx_lm(folder, "lora", "-c", "run.yaml")
    mlx_lm(folder, "fuse", "--model", "base", "--adapter-path", "adapters", "--save-path", "fused")
    mlx_lm(folder, "convert", "--hf-path", "fused", "--mlx-path", "four", *FOUR)
    (folder / "complete").touch()


def trained(sample: Sample) -> None:
    """Copy a run that mlx_lm.lora really trained; it is trained once for all cases."""
    folder = sample.kept / "adapters"
    sample.kept.mkdir(parents=True, exist_ok=True)
    with FileLock(sample.kept / "adapters.lock"):
        if not (folder / "complete").exists():
            _make(folder)
    for name in ("base", "adapters"):
        shutil.copytree(folder / name, sample.folder / name)
    shutil.copyfile(folder / "run.yaml", sample.folder / "run.yaml")
    sample.finish["adapter"] = "adapters"


def finish(**fields: str) -> Step:
    """Return what names more of the finished run, such as its config."""
    return lambda sample: sample.finish.update(fields)


def fused(name: str) -> Step:
    """Return what copies a model that base and adapter were fused into, and names it."""

    def act(sample: Sample) -> None:
        shutil.copytree(sample.kept / "adapters" / name, sample.folder / "fused")
        sample.finish["fused"] = "fused"

    return act


FILE, STORED = "adapters/adapters.safetensors", "adapters/adapter_config.json"
BASE = "base/model.safetensors"

ADAPTER, MODEL = Kit(plan.FINISH1_ADAPTER, (trained,)), Kit(plan.FINISH2_MODEL, (trained,))


def parameters(**fields: Any) -> Step:
    """Return what changes the stored lora_parameters."""
    return edit_json(STORED, lambda stored: stored["lora_parameters"].update(fields))


def dead(found: tensors.Tensors) -> None:
    """Leave what no gradient has reached: `lora_b` of zeros."""
    for name in found:
        if name.endswith("lora_b"):
            found[name][:] = 0


def one(change: Callable[[tensors.Tensors, str], object]) -> Step:
    """Return what changes the first tensor of the adapter."""
    return tensors.change(FILE, lambda found: change(found, min(found)))


def copy_base(name: str) -> Step:
    """Return what copies the base under another name."""

    def act(sample: Sample) -> None:
        shutil.copytree(sample.folder / "base", sample.folder / name)

    return act


def another_template(sample: Sample) -> None:
    """Change the chat template of the fused model.

    Raises:
        PreflightError: It has none in a file of its own.
    """
    path = sample.folder / "fused" / "chat_template.jinja"
    if not path.is_file():
        raise PreflightError(f"{path}: not there")
    path.write_text(path.read_text(encoding="utf-8") + "\n<think></think>", encoding="utf-8")


FOLDERS: dict[str, Step] = {
    "no settings": remove(STORED),
    "settings that are no JSON": write(STORED, "{"),
    "settings without a rank": edit_json(STORED, lora_parameters={"scale": 1.0}),
    "no adapters": remove("adapters"),
    "only numbered saves": remove(FILE),
    "an empty file": write(FILE, b""),
    "a pickle": write(FILE, b"\x80\x04K\x01."),
    "a file without a tensor": write(FILE, b"\x02\0\0\0\0\0\0\0{}"),
    "a file that is cut off": cut(FILE, 1000),
    "PEFT's file": rename(FILE, "adapters/adapter_model.safetensors"),
}

MISFITS: dict[str, Step] = {
    "another rank": parameters(rank=16),
    "fewer layers": edit_json(STORED, num_layers=2),
    "a tensor is missing": one(lambda found, name: found.pop(name)),
    "a tensor that is not trained": one(
        lambda found, name: found.update({"model.layers.9.x.lora_a": found[name]})
    ),
}

FILES: tuple[Case, ...] = (
    ADAPTER.clean("as it is"),
    ADAPTER.clean("with its config", finish(config="run.yaml"), near=plan.FINISH1_6),
    ADAPTER.clean("with its base", finish(model="base"), near=plan.FINISH1_2),
    ADAPTER.clean("notes beside it", write("adapters/notes.txt", "x"), near=plan.FINISH1_1),
    *(ADAPTER.defect(plan.FINISH1_1, name, step, blocks=True) for name, step in FOLDERS.items()),
    ADAPTER.defect(
        plan.FINISH1_2,
        "a base that is not here",
        edit_json(STORED, model="/no/such/folder"),
        status=Status.BLOCKED,
        blocks=True,
    ),
    ADAPTER.defect(
        plan.FINISH1_2,
        "another model of the same shapes",
        *(
            copy_base("other"),
            tensors.shuffled("other/model.safetensors"),
            finish(model="other"),
        ),
    ),
    *(
        ADAPTER.defect(plan.FINISH1_3, name, step, along=[plan.FINISH1_5, plan.FINISH1_6])
        for name, step in MISFITS.items()
    ),
    ADAPTER.defect(plan.FINISH1_4, "a NaN", tensors.put(FILE, "lora_b", float("nan")), blocks=True),
    ADAPTER.defect(
        plan.FINISH1_4, "an infinite value", tensors.put(FILE, "lora_a", float("inf")), blocks=True
    ),
    ADAPTER.defect(plan.FINISH1_5, "a dead adapter", tensors.change(FILE, dead)),
    ADAPTER.defect(plan.FINISH1_5, "one dead pair", tensors.put(FILE, "lora_b", 0.0, whole=True)),
    ADAPTER.defect(
        plan.FINISH1_5, "a change beyond sense", tensors.put(FILE, "lora_b", 1e4, whole=True)
    ),
    ADAPTER.defect(
        plan.FINISH1_6,
        "another scale than asked",
        parameters(scale=40.0),
        finish(config="run.yaml"),
    ),
    ADAPTER.defect(
        plan.FINISH1_6,
        "another dropout than asked",
        *(parameters(dropout=0.5), finish(config="run.yaml")),
    ),
)

ANSWERS: tuple[Case, ...] = (
    MODEL.clean("as it is"),
    MODEL.clean("with the fused model", fused("fused"), near=(plan.FINISH2_4, plan.FINISH2_5)),
    MODEL.clean("rows that are named", finish(data=str(EMBEDDED_ROWS)), near=plan.FINISH2_3),
    MODEL.defect(
        plan.FINISH2_1,
        "a tensor of another shape",
        one(lambda found, name: found.update({name: found[name][:-1]})),
        blocks=True,
    ),
    MODEL.defect(
        plan.FINISH2_2, "a dead adapter", tensors.change(FILE, dead), along=[plan.FINISH2_3]
    ),
    MODEL.defect(plan.FINISH2_3, "another scale", parameters(scale=2000.0)),
    MODEL.defect(plan.FINISH2_3, "a base that was exchanged", tensors.shuffled(BASE)),
    MODEL.defect(
        plan.FINISH2_3,
        "no held-out rows",
        edit_json(STORED, data="nowhere"),
        status=Status.BLOCKED,
    ),
    MODEL.defect(
        plan.FINISH2_4,
        "a fused model that is the base",
        copy_base("fused"),
        finish(fused="fused"),
    ),
    MODEL.defect(
        plan.FINISH2_4,
        "fused with another scale",
        *(parameters(scale=15.0), fused("fused")),
    ),
    MODEL.defect(
        plan.FINISH2_5,
        "fused in 4 bits",
        fused("four"),
        along=[plan.FINISH2_4],
    ),
    MODEL.defect(
        plan.FINISH2_5,
        "fused with another template",
        fused("fused"),
        another_template,
    ),
)


CASES: tuple[Case, ...] = (*FILES, *ANSWERS)
