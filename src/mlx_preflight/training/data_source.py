"""Where the rows of a run are: a folder, or what `datasets` makes of a set for mlx-lm."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, DataError, WorkerError
from mlx_preflight.models import hub_cache
from mlx_preflight.training.training_run import TrainingRun

SPLITS = ("train", "valid", "test")
"""Files that mlx-lm reads (tuner/datasets.py `load_local_dataset`), with `.jsonl`."""

PARTS = {"train": "train[:80%]", "valid": "train[-10%:]", "test": None}
"""What mlx-lm takes of a set of `hf_dataset` that names no splits (`load_custom_hf_dataset`)."""

DOWNLOAD_S = 1800.0
"""Seconds that a download may take; sets of over 1 GB are refused before."""

OPEN = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
"""Variables of the one child that may reach the hub, as the trainer would."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Rows of a run, as files.

    Attributes:
        folder: Where `train.jsonl`, `valid.jsonl` and `test.jsonl` are.
        sections: File → first line and settings of each part of it, where mlx-lm joins sets.
        unread: Splits that are there and that mlx-lm does not read.
    """

    folder: Path
    sections: Mapping[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def find(run: TrainingRun) -> DataSource:
    """Return the rows of a run; a set of the hub is loaded as mlx-lm would.

    Raises:
        DataError: There are none, or mlx-lm could not load them.
        BlockedError: The hub cannot be reached, or the set is not read here.
    """
    if run.settings.get("hf_dataset"):
        return _loaded(run, _sets(run))
    folder = run.path("data")
    if folder.is_dir():
        there = {path.stem for path in folder.glob("*.jsonl")}
        return DataSource(folder, unread=tuple(sorted(there - {*SPLITS})))
    if folder.exists():
        raise DataError(f"{folder}: no folder", hint="name the folder that holds train.jsonl")
    name = str(run.settings["data"])
    if hub_cache.is_hub_id(name):
        return _loaded(run, [{"path": name, "config": {}, "splits": None, "data": {}}])
    raise DataError(f"{folder}: not found", hint="name the folder that holds train.jsonl")


def settings(run: TrainingRun) -> dict[str, Any]:
    """Return what mlx-lm's datasets read of a run's settings."""
    features = {name: value for name, value in run.settings.items() if name.endswith("_feature")}
    return {**features, "mask_prompt": bool(run.settings["mask_prompt"])}


def _sets(run: TrainingRun) -> list[dict[str, Any]]:
    """Return the sets of `hf_dataset`, as `load_custom_hf_dataset` reads them."""
    given = run.settings["hf_dataset"]
    wanted = [
        *(["train", "valid"] if run.settings["train"] else []),
        *(["test"] if run.settings["test"] else []),
    ]
    found = []
    for number, one in enumerate([given] if isinstance(given, Mapping) else given, 1):
        name = f"hf_dataset, set {number}"
        if not isinstance(one, Mapping) or not isinstance(one.get("path"), str):
            raise DataError(f"{name}: it has no `path`, which mlx-lm needs")
        if not isinstance(one.get("config", {}), Mapping):
            raise DataError(f"{name}: `config` is no mapping of arguments of load_dataset")
        splits = {split: one.get(f"{split}_split", PARTS[split]) for split in wanted}
        if any(not isinstance(split, str) for split in splits.values()):
            raise DataError(
                f"{name}: no `test_split`, and without one mlx-lm ends at the test",
                hint="name it, or do not set `test`",
            )
        data = {**one, "mask_prompt": bool(run.settings["mask_prompt"])}
        data = {k: v for k, v in data.items() if k.endswith("_feature") or k == "mask_prompt"}
        arguments = dict(one.get("config", {}))
        found.append({"path": one["path"], "config": arguments, "splits": splits, "data": data})
    return found


def _loaded(run: TrainingRun, sets: list[dict[str, Any]]) -> DataSource:
    """Let a child load sets with the package `datasets`."""
    if importlib.util.find_spec("datasets") is None:
        raise BlockedError(
            "sets of the hub are read with the package `datasets`, which is not installed; "
            "mlx_lm.lora needs it, too",
            hint="`pip install 'mlx-preflight[data]'`",
        )
    if not run.settings.get("hf_dataset"):
        sets = [{**sets[0], "data": settings(run)}]
    job = {"folder": str(run.folder), "sets": sets, "names": SPLITS}
    digest = hashlib.sha256(json.dumps(job, sort_keys=True, default=str).encode()).hexdigest()
    # Beside what `datasets` keeps of them: rows are never written to a project.
    target = _kept() / digest[:16]
    token = {name: value for name in ("HF_TOKEN",) if (value := os.environ.get(name))}
    try:
        answer = child.call(
            "mlx_preflight.runtime.hub_rows",
            {**job, "target": str(target)},
            timeout_s=DOWNLOAD_S,
            label=f"the set {sets[0]['path']} was not loaded",
            env=child.child_environment({**OPEN, **token}),
        ).value
    except WorkerError as error:
        hint = error.hint or "let this machine reach the hub, or name a folder of rows"
        raise BlockedError(str(error), hint=hint) from error
    if answer["refused"]:
        hint = "export it to a folder with train.jsonl and valid.jsonl"
        raise BlockedError(answer["refused"], hint=hint)
    if answer["fault"]:
        raise DataError(
            f"mlx_lm.lora ends before its first step: {answer['fault']}",
            hint="name a set and splits that the hub has",
        )
    sections = {
        name: [(line, data) for line, data in parts] for name, parts in answer["sections"].items()
    }
    return DataSource(target, sections, tuple(answer["unread"]))


def _kept() -> Path:
    """Return the folder for rows of sets, in the cache of the hub's client."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home) / "mlx-preflight" / "rows"
