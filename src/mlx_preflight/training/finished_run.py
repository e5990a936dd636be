"""The finished training that is judged: the folder that mlx_lm.lora wrote, and its base.

Nothing is loaded here: adapters are untrusted files, whose headers are validated first.
"""

from __future__ import annotations

import filecmp
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mlx_preflight.core.errors import (
    BlockedError,
    CheckpointError,
    PreflightError,
    UsageError,
)
from mlx_preflight.core.text import printable, printable_list
from mlx_preflight.memory.measure import FREE_SHARE
from mlx_preflight.models import checkpoint, files, locate, validation
from mlx_preflight.models.checkpoint import Checkpoint, TensorHeader
from mlx_preflight.models.locate import ResolvedModel
from mlx_preflight.plan import register
from mlx_preflight.plan.adapter_base import CONFIG, CONFIG_BYTES, base_name
from mlx_preflight.plan.options import FinishRequest
from mlx_preflight.run.context import Context
from mlx_preflight.training.resume import SAVED

ADAPTERS = "adapters.safetensors"
"""The last save; mlx_lm's `load_adapters` (tuner/utils.py 0.32) reads this file only."""

TYPES = ("lora", "dora", "full")
"""Values of `fine_tune_type` that mlx_lm.lora accepts (0.32)."""

LORA_NUMBERS = ("rank", "scale", "dropout")
"""Values of `lora_parameters` without which no layer can be made."""

FOREIGN = {
    "adapter_model.safetensors": "PEFT's",
    "adapter_model.bin": "PEFT's, pickled",
    "adapters.npz": "those of an mlx-lm before 0.10",
}
"""Files of other trainers → whose adapters they are."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """An adapter folder.

    Attributes:
        folder: Where it is.
        stored: Its adapter_config.json: the settings of the run.
        tensors: Tensors of its last save, by name.
        saves: Names of the numbered saves beside it, in order.
        iteration: Iteration of the numbered save that equals the last one; None without one.
    """

    folder: Path
    stored: Mapping[str, Any]
    tensors: Mapping[str, TensorHeader]
    saves: tuple[str, ...]
    iteration: int | None

    @property
    def kind(self) -> str:
        """Return the type of the training: lora, dora or full."""
        return str(self.stored.get("fine_tune_type", "lora"))

    @property
    def parameters(self) -> int:
        """Return the numbers that were trained."""
        return sum(item.elements for item in self.tensors.values())


@dataclass(frozen=True, slots=True)
class Base:
    """Base model of an adapter.

    Attributes:
        resolved: Where it is.
        checkpoint: What its files declare.
        difference: Why it is not the model that was trained, or an empty text.
    """

    resolved: ResolvedModel
    checkpoint: Checkpoint
    difference: str


def request(context: Context) -> FinishRequest:
    """Return the adapter that somebody asks about.

    Raises:
        UsageError: None is named.
    """
    if context.finish is None:
        raise UsageError("no adapter is named", hint="`mlx-preflight finish ADAPTER`")
    return context.finish


def read(context: Context) -> FinishedRun:
    """Read the adapter folder of a context.

    Raises:
        CheckpointError: A file is absent, damaged, or another program's.
    """
    folder = context.project / Path(request(context).adapter).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: {'no folder' if folder.exists() else 'not found'}")
    _require_files(folder)
    stored = files.read_object(files.confined(folder, CONFIG), CONFIG_BYTES)
    if problems := list(_wrong(stored)):
        raise CheckpointError(f"{folder / CONFIG}: {'; '.join(problems)}")
    try:
        tensors = checkpoint.read_header(files.confined(folder, ADAPTERS))
    except CheckpointError as error:  # (what helps a base that was downloaded is no help here)
        raise CheckpointError(str(error), hint="use a numbered save, or train again") from error
    if not tensors:
        raise CheckpointError(f"{folder / ADAPTERS}: holds no tensor")
    saves = tuple(name for name in _names(folder) if SAVED.fullmatch(name) and name != ADAPTERS)
    return FinishedRun(folder, stored, tensors, saves, _iteration(folder, saves))


def require(context: Context) -> FinishedRun:
    """Return the adapter folder for a check that is not about its files.

    Raises:
        BlockedError: It cannot be read.
    """
    try:
        return read(context)
    except CheckpointError as error:
        raise BlockedError(f"{register.FINISH1_1}: {error}", hint=error.hint) from error


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _require_files(folder: Path) -> None:
    """Refuse a folder without the two files of mlx_lm.lora, with what is there instead."""
    names = _names(folder)
    missing = [name for name in (CONFIG, ADAPTERS) if name not in names]
    if not missing:
        return
    text = f"{folder}: no {' and no '.join(missing)}"
    if other := [f"{name} is there: {whose}" for name, whose in FOREIGN.items() if name in names]:
        text += f"; {', '.join(other)}"
    elif saves := [name for name in names if SAVED.fullmatch(name)]:
        text += f"; of the saves there is {saves[-1]}"
    raise CheckpointError(text)


def _wrong(stored: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings from which mlx_lm cannot load adapters."""
    if "peft_type" in stored:
        yield "PEFT wrote it, not mlx_lm.lora"
        return
    kind = stored.get("fine_tune_type", "lora")
    if kind not in TYPES:
        yield f"fine_tune_type is {printable(kind)}; one of {', '.join(TYPES)} is expected"
        return
    if kind == "full":
        return
    if type(stored.get("num_layers")) is not int:
        yield f"num_layers is {printable(stored.get('num_layers'))}, no whole number"
    parameters = stored.get("lora_parameters")
    if not isinstance(parameters, Mapping):
        yield "lora_parameters is no mapping"
        return
    for name in LORA_NUMBERS:
        value = parameters.get(name)
        kind = int if name == "rank" else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            yield f"{name} of lora_parameters is {printable(value)}, no number"
    keys = parameters.get("keys")
    if keys is not None and not (isinstance(keys, list) and all(isinstance(k, str) for k in keys)):
        yield "keys of lora_parameters is no list of names"


def _iteration(folder: Path, saves: tuple[str, ...]) -> int | None:
    """Return the iteration whose save equals the last one, byte by byte."""
    last = folder / ADAPTERS
    files_there = (name for name in reversed(saves) if (folder / name).is_file())
    same = (name for name in files_there if filecmp.cmp(folder / name, last, shallow=False))
    found = next(same, None)
    return None if found is None else int(found.partition("_")[0])


def find_base(context: Context, run: FinishedRun) -> Base:
    """Find and validate the base of an adapter; nothing is downloaded.

    Raises:
        BlockedError: It is not named, or not on this machine.
        CheckpointError: Its files are damaged.
    """
    asked, named = request(context).model, run.stored.get("model")
    named = named if isinstance(named, str) and named.strip() else None
    name = asked or named
    if name is None:
        raise BlockedError(f"{CONFIG} names no model", hint="name the base with --model")
    resolved = _resolve(context, name)
    inspected = checkpoint.inspect(resolved.path)
    validation.validate(inspected, chat=False, scan=False).raise_if_invalid(inspected)
    difference = "" if asked is None or named is None else _difference(context, named, inspected)
    return Base(resolved, inspected, difference)


def _resolve(context: Context, name: str) -> ResolvedModel:
    folder = context.project / Path(name).expanduser()
    try:
        return locate.resolve(base_name(str(folder) if folder.exists() else name))
    except UsageError as error:
        hint = "name the folder of the base with --model"
        raise BlockedError(f"the base {printable(name)} is not here: {error}", hint=hint) from error


def _difference(context: Context, named: str, given: Checkpoint) -> str:
    """Return how the given model differs from the one that the adapter names.

    Where that one is here, too, files decide, and else the name of the folder or repository.
    """
    try:
        trained = checkpoint.inspect(_resolve(context, named).path)
    except PreflightError:
        # A snapshot of the hub's cache is named by its commit, and its repository is above it.
        names = {_last_part(str(given.folder)), given.folder.parent.parent.name.lower()}
        same = {_last_part(named), f"models--{named.replace('/', '--')}".lower()} & names
        return "" if same else f"{CONFIG} names {printable(named)} as the base"
    if trained.folder.samefile(given.folder):
        return ""
    if dict(trained.config) != dict(given.config):
        return f"its config is not that of {printable(named)}, which {CONFIG} names"
    if list(trained.tensors) != list(given.tensors) or _weights(trained) != _weights(given):
        return f"its weights are not those of {printable(named)}, which {CONFIG} names"
    return ""


def _last_part(name: str) -> str:
    return Path(name.partition("@")[0]).name.lower()


def _weights(found: Checkpoint) -> set[str]:
    """Return the digests of a model's weights files."""
    digests = checkpoint.digests(found)
    return {digest for name, digest in digests.items() if name in found.files}


def memory_limit_bytes() -> int:
    """Return what a child may take, so that the machine survives."""
    return int(psutil.virtual_memory().available * FREE_SHARE)


def describe(run: FinishedRun | PreflightError, base: Base | PreflightError) -> dict[str, Any]:
    """Return what a result file stores about adapter and base."""
    known: dict[str, Any] = {}
    if not isinstance(run, PreflightError):
        known["adapter"] = str(run.folder)
        known["fine_tune_type"] = run.kind
    if not isinstance(base, PreflightError):
        known |= {**base.resolved.describe(), "parameters": base.checkpoint.parameters}
    return known


def save_line(run: FinishedRun) -> str:
    """Return which save the folder holds, in words."""
    total = run.stored.get("iters")
    count = f"{len(run.saves)} numbered saves" + (
        f" up to {printable_list(run.saves[-1:])}" if run.saves else ""
    )
    if run.iteration is not None and isinstance(total, int) and run.iteration < total:
        return f"{count}; the last save is of iteration {run.iteration:,} of {total:,}"
    return count
