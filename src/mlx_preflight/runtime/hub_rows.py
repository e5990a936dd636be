"""Child that writes rows of the package `datasets` as JSON lines: `python -m … JOB ANSWER`.

It loads them as `load_hf_dataset` and `load_custom_hf_dataset` do (mlx_lm/tuner/datasets.py
0.32). Data sets are untrusted: formats that are read by unpickling or by code of their own are
refused before anything is loaded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets import exceptions
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import RepositoryNotFoundError

from mlx_preflight.core.child_main import run_job
from mlx_preflight.core.units import format_bytes
from mlx_preflight.runtime import data_file

FORMATS = frozenset({"arrow", "cache", "csv", "json", "parquet", "text"})
"""Builders of `datasets` that only parse (`cache` reads what an earlier one left); `pandas`
unpickles, and others hold no text."""

PACKAGED = "datasets.packaged_modules."

ARGUMENTS = frozenset({"name", "data_dir", "data_files", "revision"})
"""Arguments of `load_dataset` in a config's `config`; the rest is not needed to find rows."""

DATA_ERRORS = (
    exceptions.DatasetNotFoundError,
    exceptions.DataFilesNotFoundError,
    exceptions.DatasetBuildError,
    RepositoryNotFoundError,
    ValueError,
)
"""What `datasets` raises for a set that the trainer cannot load either. Whatever else it raises
(no connection, no space) says nothing about the set."""


class RefusedSetError(Exception):
    """Set that is not read here, though the trainer might."""


def write(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load every set, write a file per split, and return what there is.

    Args:
        job: `folder` where the run starts, `target` (folder for the files), and `sets`: each
            with `path`, `config` (arguments of `load_dataset`), `splits` (file → split; None
            loads the set as a whole) and `data` (settings that mlx-lm's datasets read).

    Returns:
        `sections` (file → first line and settings of each set's rows), `unread` (splits that
        are not asked for) and `fault` (why the trainer would fail to load them, or empty).
    """
    os.chdir(job["folder"])
    target = Path(job["target"])
    target.mkdir(parents=True, exist_ok=True)
    # A split that is gone must not be read again.
    for old in target.glob("*.jsonl"):
        old.unlink()
    answer: dict[str, Any] = {"sections": {}, "unread": [], "fault": "", "refused": ""}
    try:
        loaded = [(_load(one), one) for one in job["sets"]]
        names = dict.fromkeys(name for splits, _ in loaded for name in splits)
        answer["unread"] = [name for name in names if name not in job["names"]]
        for name in job["names"]:
            parts = [(s[name], one["data"]) for s, one in loaded if name in s]
            if parts:
                answer["sections"][name] = _write(target / f"{name}.jsonl", parts)
    except RefusedSetError as error:
        answer["refused"] = str(error)
    except DATA_ERRORS as error:
        answer["fault"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return answer


def _load(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return the splits of a set."""
    path, arguments = one["path"], one["config"]
    if unknown := sorted({*arguments} - ARGUMENTS):
        raise RefusedSetError(f"`config` of {path}: {', '.join(unknown)} is not read here")
    builder = datasets.load_dataset_builder(path, **arguments)
    modules = [kind.__module__ for kind in type(builder).__mro__]
    formats = {name.removeprefix(PACKAGED).split(".")[0] for name in modules if PACKAGED in name}
    if not formats or not formats <= FORMATS:
        name = ", ".join(sorted(formats)) or type(builder).__name__
        raise RefusedSetError(f"{path} is of the format {name}, which is not read here")
    _limit_size(path, builder)
    if one["splits"] is None:
        return dict(datasets.load_dataset(path, **arguments))
    return {
        name: datasets.load_dataset(path, split=split, **arguments)
        for name, split in one["splits"].items()
    }


def _limit_size(path: str, builder: Any) -> None:
    """Refuse a set whose download is larger than what is read of a file."""
    urls = [str(url) for urls in (builder.config.data_files or {}).values() for url in urls]
    hub = HfFileSystem()
    size = sum(int(hub.size(url) or 0) for url in urls if url.startswith("hf://"))
    if size > data_file.MAX_FILE_BYTES:
        most = format_bytes(data_file.MAX_FILE_BYTES)
        raise RefusedSetError(f"{path} is {format_bytes(size)}; at most {most} are read")


def _write(path: Path, parts: Iterable[tuple[Any, Mapping[str, Any]]]) -> list[list[Any]]:
    """Write rows as JSON lines, and return first line and settings of each part."""
    sections: list[list[Any]] = []
    line, size = 1, 0
    with path.open("w", encoding="utf-8") as stream:
        for rows, settings in parts:
            sections.append([line, settings])
            for row in rows:
                text = json.dumps(row, ensure_ascii=False, default=_kind)
                size += len(text)
                if size > data_file.MAX_FILE_BYTES:
                    most = format_bytes(data_file.MAX_FILE_BYTES)
                    raise RefusedSetError(f"its rows are over {most}, which is not read here")
                stream.write(text + "\n")
                line += 1
    return sections


def _kind(value: object) -> str:
    """Return what stands for a value that is no JSON, such as a date."""
    return type(value).__name__


if __name__ == "__main__":
    sys.exit(run_job(write, sys.argv[1:]))
