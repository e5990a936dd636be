"""The training run that is judged: its effective settings, as `mlx_lm.lora` would see them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import BlockedError, PreflightError, UsageError
from mlx_preflight.plan import register
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.run.context import Context
from mlx_preflight.training import axolotl

COMMAND_LINE, CONFIG, DEFAULT = "command line", "config", "default"
"""Origins of a setting, in mlx-lm's precedence."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Effective settings of one run of `mlx_lm.lora`.

    Attributes:
        arguments: Arguments of the program, as given.
        folder: Folder that relative paths start from.
        config: The YAML file; None without one.
        settings: Name → value as `mlx_lm.lora.run` gets it, keys that it never reads included.
        origins: Name → `COMMAND_LINE`, `CONFIG` or `DEFAULT`.
        lines: Name → line of the config.
        repeated: Keys that the config has twice.
        hidden: Keys of the config whose value a default of mlx-lm's parser replaces.
        known: Names that the installed mlx-lm reads.
        world: Processes that share a batch.
        here: How many of them run on this machine.
        foreign: Whether the config is axolotl's, which mlx_lm.lora cannot read itself.
    """

    arguments: tuple[str, ...]
    folder: Path
    config: Path | None
    settings: Mapping[str, Any]
    origins: Mapping[str, str]
    lines: Mapping[str, int]
    repeated: tuple[str, ...]
    hidden: frozenset[str]
    known: frozenset[str]
    world: int = 1
    here: int = 1
    foreign: bool = False

    @property
    def model(self) -> str:
        """Return the model that would be trained: a folder or a hub id."""
        name = str(self.settings["model"])
        folder = self.folder / Path(name).expanduser()
        return str(folder) if folder.exists() else name

    def path(self, name: str) -> Path:
        """Return a setting that is a path, from the folder where the run starts."""
        return self.folder / Path(str(self.settings[name])).expanduser()


def read_run(context: Context) -> TrainingRun:
    """Return the effective settings of the context's training run.

    Raises:
        UsageError: No run is named, or mlx-lm's parser refuses the arguments.
        CheckpointError: The config cannot be read.
    """
    if context.training is None:
        raise UsageError(
            "no training run is named",
            hint="name its YAML: `-- --config lora_config.yaml`, or `run` in [tool.mlx-preflight]",
        )
    files = (context.project / word for word in context.training.arguments)
    stamps = tuple(
        (status.st_mtime_ns, status.st_size) for path in files if (status := _status(path))
    )
    return _read(context.training, context.project, stamps)


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file; None where no such one can be looked at."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def require_run(context: Context) -> TrainingRun:
    """Return the settings for a session that is not about them.

    Raises:
        BlockedError: They cannot be read; `run1-config` says why.
    """
    try:
        return read_run(context)
    except PreflightError as error:
        raise BlockedError(f"{register.RUN1_1}: {error}", hint=error.hint) from error


@functools.cache
def _read(
    request: TrainingRequest, folder: Path, _stamps: tuple[tuple[int, int], ...]
) -> TrainingRun:
    """Return the settings; the sessions of one command ask for the same ones.

    Args:
        request: The run.
        folder: Where it would be started.
        _stamps: Time and size of the files that it names, which make an edited one another run.
    """
    from mlx_preflight.runtime import launcher, lora_settings  # noqa: PLC0415  (they import mlx)

    foreign: list[bool] = []

    def translate(values: dict[str, Any]) -> dict[str, Any]:
        foreign.append(axolotl.is_axolotl(values))
        return axolotl.translated(values, folder) if foreign[0] else values

    resolved = lora_settings.resolve(request.arguments, folder, translate)
    file = resolved.file
    launch = launcher.read(request.launch[1:]) if request.launch else None
    in_config: Mapping[str, Any] = {} if file is None else file.values
    origins = {
        name: COMMAND_LINE if name in resolved.given else CONFIG if name in in_config else DEFAULT
        for name in resolved.settings
    }
    return TrainingRun(
        arguments=request.arguments,
        folder=folder,
        config=None if resolved.path is None else folder / resolved.path,
        settings=resolved.settings,
        origins=origins,
        lines={} if file is None else file.lines,
        repeated=() if file is None else file.repeated,
        hidden=frozenset(
            name
            for name, value in in_config.items()
            if name not in resolved.given and resolved.settings[name] != value
        ),
        known=lora_settings.names_read(),
        world=launch.world if launch else 1,
        here=launch.here if launch else 1,
        foreign=any(foreign),
    )
