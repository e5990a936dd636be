"""Disk space that a training run needs: its adapter files, and the model where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.models import locate, source
from mlx_preflight.training.training_run import TrainingRun

ADAPTERS, DOWNLOAD = "adapters", "model"


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Bytes that something of a run writes below a folder."""

    name: str
    folder: Path
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Space on one file system, and what the run writes there.

    Attributes:
        folder: A folder on it.
        free_bytes: What this user may still write.
        needs: What the run writes.
    """

    folder: Path
    free_bytes: int
    needs: tuple[DiskNeed, ...]

    @property
    def needed_bytes(self) -> int:
        """Return what the run writes there in all."""
        return sum(item.needed_bytes for item in self.needs)


def saves(run: TrainingRun) -> int:
    """Return the adapter files that a run leaves: the numbered ones, and the last.

    mlx_lm/tuner/trainer.py 0.32 writes one at every multiple of `save_every`.

    Raises:
        BlockedError: A setting is no number from which they could be counted.
    """
    if not run.settings["train"]:
        return 0
    numbers = []
    for name, least in (("iters", 0), ("save_every", 1)):
        number = run.settings[name]
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise BlockedError(f"{name} is {number!r}: the saves cannot be counted")
        numbers.append(number)
    return numbers[0] // numbers[1] + 1


def needs(run: TrainingRun, adapter_bytes: int) -> list[DiskNeed]:
    """Return what a run writes, and where.

    Args:
        run: The run.
        adapter_bytes: Size of one adapter file.

    Raises:
        BlockedError: The size of something that it writes is not known.
    """
    found = []
    count = saves(run)
    if count:
        found.append(DiskNeed(ADAPTERS, run.path("adapter_path"), count * adapter_bytes))
    try:
        locate.resolve(run.model)
    except BlockedError as absent:
        size = source.find(run.model).download_bytes
        if size is None:
            hint = absent.hint
            raise BlockedError(f"the size of {run.model} is not known", hint=hint) from absent
        found.append(DiskNeed(DOWNLOAD, Path(HF_HUB_CACHE), size))
    return found


def spaces(needs: Sequence[DiskNeed]) -> tuple[DiskSpace, ...]:
    """Return the space of every file system that something is written to.

    Raises:
        BlockedError: A folder cannot be looked at.
    """
    by_device: dict[int, list[DiskNeed]] = {}
    places: dict[int, Path] = {}
    try:
        for need in needs:
            path = need.folder.absolute()
            existing = next(item for item in (path, *path.parents) if item.exists())
            number = existing.stat().st_dev
            by_device.setdefault(number, []).append(need)
            places.setdefault(number, existing)
        return tuple(
            DiskSpace(places[number], shutil.disk_usage(places[number]).free, tuple(group))
            for number, group in by_device.items()
        )
    except OSError as error:
        raise BlockedError(f"the disk space cannot be read: {error}") from error
