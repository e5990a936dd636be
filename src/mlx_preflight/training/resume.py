"""Adapters on disk: a file to resume from, and a folder that would be overwritten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlx_preflight.core.errors import CheckpointError, PreflightError
from mlx_preflight.models import files
from mlx_preflight.models.safetensors_header import read_header
from mlx_preflight.training.training_run import TrainingRun

CONFIG_BYTES = 1_000_000
SAVED = re.compile(r"(\d{7}_)?adapters\.safetensors")
"""Files that the trainer writes (mlx_lm/tuner/trainer.py 0.32)."""


def problems(run: TrainingRun, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Yield why the resumed file does not fit what the run trains.

    mlx_lm loads it with `strict=False`: what does not fit is left out without a word.

    Args:
        run: The training run.
        shapes: Name → shape of each trainable array.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = run.path("resume_adapter_file")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: not a safetensors file")
    if not path.is_file():
        raise CheckpointError(f"{path}: {'no file' if path.exists() else 'not found'}")
    stored = {name: item.shape for name, item in read_header(path).items()}
    wrong = [name for name in shapes if name in stored and stored[name] != shapes[name]]
    missing = [name for name in shapes if name not in stored]
    foreign = [name for name in stored if name not in shapes]
    if wrong:
        one = wrong[0]
        shape = f"{stored[one]}, not {shapes[one]}"
        yield f"{len(wrong)} arrays of another shape, such as {one}: {shape}"
    if missing:
        yield f"{len(missing)} trained arrays are not in it, such as {missing[0]}"
    if foreign:
        yield f"{len(foreign)} of its arrays are not trained, such as {foreign[0]}"
    if other := _other_base(run, path):
        yield other


def _other_base(run: TrainingRun, path: Path) -> str:
    """Return that the adapters are those of another model, if the file beside them says so."""
    beside = path.parent / "adapter_config.json"
    if not beside.is_file():
        return ""
    base = files.read_object(beside, CONFIG_BYTES).get("model")
    if not isinstance(base, str) or _name(base) == _name(run.model):
        return ""
    return f"its base was {_name(base)}, and the run trains {_name(run.model)}"


def _name(model: str) -> str:
    return Path(model).name.lower()


def saved_adapters(run: TrainingRun) -> list[str]:
    """Return the files of an earlier run that this one overwrites.

    Raises:
        PreflightError: The folder cannot be looked into.
    """
    folder = run.path("adapter_path")
    try:
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder}: adapter_path is no folder")
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise PreflightError(f"{folder}: {error.strerror or error}") from error
    return sorted(name for name in names if SAVED.fullmatch(name))
