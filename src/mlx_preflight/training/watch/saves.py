"""Adapter files that the run writes: which are new and complete."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.models.safetensors_header import read_header

NUMBERED = re.compile(r"(\d{7,})_adapters\.safetensors")
LAST = "adapters.safetensors"
"""Files that the trainer writes: the numbered ones, and one that it overwrites each time before
(mlx_lm/tuner/trainer.py 0.32)."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Adapter:
    """Complete adapter file that this run has written.

    Attributes:
        path: The file.
        iteration: Steps that it was trained for.
        nbytes: Its size.
    """

    path: Path
    iteration: int
    nbytes: int


class AdapterFiles:
    """Adapter files of one folder, against what was there before the run."""

    def __init__(self, folder: Path | None) -> None:
        """Note what is there; without a folder nothing is ever found."""
        self._folder = folder
        self._known: dict[str, Stamp] = self._stamps()
        self._seen: dict[str, Stamp] = {}

    def look(self) -> list[Adapter]:
        """Return the numbered files that became complete since the last look, oldest first.

        Complete is a file whose header describes its very size, and that two looks found equal.
        """
        found = []
        for name, stamp in self._stamps().items():
            if self._known.get(name) == stamp:
                continue
            if self._seen.get(name) != stamp:
                self._seen[name] = stamp
            elif (adapter := self._complete(name, stamp)) is not None:
                self._known[name] = stamp
                found.append(adapter)
        return sorted(found, key=lambda item: item.iteration)

    def finished(self, iteration: int) -> Adapter | None:
        """Return the file that the trainer writes at its end; None where there is no new one."""
        stamp = self._stamps().get(LAST)
        if self._folder is None or stamp is None or self._known.get(LAST) == stamp:
            return None
        return self._read(self._folder / LAST, iteration, stamp)

    def _complete(self, name: str, stamp: Stamp) -> Adapter | None:
        number = NUMBERED.fullmatch(name)
        if number is None or self._folder is None:
            return None
        return self._read(self._folder / name, int(number[1]), stamp)

    @staticmethod
    def _read(path: Path, iteration: int, stamp: Stamp) -> Adapter | None:
        try:
            return Adapter(path, iteration, stamp[1]) if read_header(path) else None
        except PreflightError:
            return None  # it is being written, or the trainer died meanwhile

    def _stamps(self) -> dict[str, Stamp]:
        """Return name → time, size and inode of the adapter files that are there."""
        if self._folder is None:
            return {}
        try:
            with os.scandir(self._folder) as entries:
                return {
                    entry.name: (found.st_mtime_ns, found.st_size, found.st_ino)
                    for entry in entries
                    if NUMBERED.fullmatch(entry.name) or entry.name == LAST
                    for found in [entry.stat()]
                }
        except OSError:
            return {}  # the trainer makes the folder, or a file went while it was looked at
