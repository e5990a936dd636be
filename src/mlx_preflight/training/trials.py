"""Trials of models on the same tokens, each in a child of its own, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, DataError, PreflightError
from mlx_preflight.core.text import printable
from mlx_preflight.models import locate
from mlx_preflight.models.locate import ResolvedModel
from mlx_preflight.plan import register
from mlx_preflight.plan.adapter_base import CONFIG
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import data_file
from mlx_preflight.training import data_source, finished_run
from mlx_preflight.training.finished_run import FinishedRun
from mlx_preflight.training.training_run import TrainingRun

PROMPTS, TOKENS = 4, 32
"""Prompts that are answered, and the longest answer: a few seconds on a 7B model of 4 bits."""

ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-9}
"""Largest relative error of one rounding: half of the distance of two neighbours of 1 in IEEE 754
binary32 and binary16, and in bfloat16 with its 8 bits of precision."""

READ = ("batch_size", "max_seq_length", "val_batches", "seed")
"""Settings that decide the validation batches (mlx_lm/tuner/trainer.py 0.32)."""

NO_ROWS = "name a folder with valid.jsonl: --data FOLDER"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out rows.

    Attributes:
        path: The file.
        sections: First line and settings of each set in it.
        settings: Settings of the run that decide the batches.
    """

    path: Path
    sections: Sequence[tuple[int, Mapping[str, Any]]]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """What one model did.

    Attributes:
        logits: File with logits of the last positions of each sequence.
        duration_s: Wall time of the child.
        prompts: Token ids of the prompts.
        ends: Ids of the end tokens.
        answers: Token ids of the greedy answers.
        sequences: Token ids whose logits are compared.
        dtype: Type of the logits.
        vocabulary: Their width.
        loss: Mean held-out loss, nats; None where it is not finite, or there are no rows.
        batches: Loss of each batch, likewise.
        rows: Held-out rows.
        loss_problem: Kind of the error of rows that cannot be read; empty without one.
        tokenizer: Difference from the base's tokenizer; empty without one, None where not asked.
        unfused: Modules with an adapter that mlx_lm cannot fuse.
    """

    logits: Path
    duration_s: float
    prompts: Sequence[Sequence[int]]
    ends: Sequence[int]
    answers: Sequence[Sequence[int]]
    sequences: Sequence[Sequence[int]]
    dtype: str
    vocabulary: int
    loss: float | None
    batches: tuple[float | None, ...]
    rows: int
    loss_problem: str
    tokenizer: str | None
    unfused: tuple[str, ...]

    @property
    def rounding(self) -> float:
        """Return the largest relative error of one rounding of the logits' type."""
        return ROUNDING.get(self.dtype, ROUNDING["bfloat16"])


@dataclass(frozen=True, slots=True)
class Change:
    """Distance of two sets of logits.

    Attributes:
        share: Root mean square of the difference, by that of the first logits.
        largest: Largest difference.
        finite: Whether all logits are finite numbers; the others are 0 if not.
    """

    share: float
    largest: float
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Bench:
    """Maker of trials on the same prompts and rows.

    Attributes:
        context: Context of the run.
        base: Where the base model is.
        scratch: Folder for the logits.
        held_out: Held-out rows, or why there are none.
    """

    context: Context
    base: ResolvedModel
    scratch: Path
    held_out: HeldOut | PreflightError

    def plain(self) -> Trial:
        """Try the base."""
        prompts = [item["prompt"] for item in locate.prompts_for(self.base)[:PROMPTS]]
        return self._try("the base", self.base.path, {"prompts": prompts})

    def adapted(self, plain: Trial | PreflightError, adapter: Path) -> Trial:
        """Try the base with its adapter; with a fused model also what mlx_lm's own fusing makes."""
        fused = str(self.reference) if finished_run.request(self.context).fused else None
        changes = {"adapter": str(adapter), "fused_logits": fused, **_same(plain)}
        return self._try("base and adapter", self.base.path, changes)

    def fused(self, plain: Trial | PreflightError, folder: Path) -> Trial:
        """Try a fused model."""
        return self._try("the fused model", folder, {"like": str(self.base.path), **_same(plain)})

    @property
    def reference(self) -> Path:
        """Return the file for the logits of mlx_lm's own fusing."""
        return self.scratch / "reference.npz"

    def _try(self, name: str, folder: Path, changes: Mapping[str, Any]) -> Trial:
        self.context.note(f"{register.FINISH2_MODEL}: trying {name}")
        logits = self.scratch / f"{name.replace(' ', '-')}.npz"
        job = {
            "path": str(folder),
            "adapter": None,
            "sequences": None,
            "ends": None,
            "tokens": TOKENS,
            "held_out": _job(self.held_out),
            "logits": str(logits),
            "fused_logits": None,
            "like": None,
            "memory_limit_bytes": finished_run.memory_limit_bytes(),
            **changes,
        }
        reply = child.call(
            "mlx_preflight.runtime.trial_child",
            job,
            timeout_s=self.context.settings.timeout_s,
            label=name,
        )
        return _trial(reply.value, logits, reply.duration_s)


def _same(plain: Trial | PreflightError) -> dict[str, Any]:
    """Return the tokens that every trial gets."""
    found = done(plain)
    return {"prompts": found.prompts, "sequences": found.sequences, "ends": found.ends}


def _job(held_out: HeldOut | PreflightError) -> dict[str, Any] | None:
    if isinstance(held_out, PreflightError):
        return None
    return {
        "path": str(held_out.path),
        "sections": [list(section) for section in held_out.sections],
        "settings": dict(held_out.settings),
    }


def _trial(value: Mapping[str, Any], logits: Path, duration_s: float) -> Trial:
    found = value["held_out"] or {"mean": None, "batches": [], "rows": 0, "problem": ""}
    kept = ("prompts", "ends", "answers", "sequences", "dtype", "vocabulary", "tokenizer")
    return Trial(
        logits=logits,
        duration_s=duration_s,
        **{name: value[name] for name in kept},
        loss=found["mean"],
        batches=tuple(found["batches"]),
        rows=found["rows"],
        loss_problem=found["problem"],
        unfused=tuple(value["unfused"]),
    )


def held_out(context: Context, run: FinishedRun) -> HeldOut:
    """Find the validation rows of a finished run, or those that were named.

    A set of the hub is loaded where somebody names it, and never because an adapter does.

    Raises:
        BlockedError: There are none on this machine.
    """
    asked = finished_run.request(context).data
    settings = {"mask_prompt": False, **run.stored, "train": True, "test": False}
    if asked is not None:
        settings = {**settings, "data": asked, "hf_dataset": None}
    named = settings.get("data")
    local = isinstance(named, str) and (context.project / Path(named).expanduser()).is_dir()
    if asked is None and (settings.get("hf_dataset") or not local):
        where = "a set of the hub" if settings.get("hf_dataset") else printable(named)
        text = f"the rows of the training are not here: {CONFIG} names {where}"
        raise BlockedError(text, hint=NO_ROWS)
    stub = TrainingRun((), context.project, None, settings, {}, {}, (), frozenset(), frozenset())
    try:
        source = data_source.find(stub)
        path = source.folder / "valid.jsonl"
        if not path.exists():
            raise BlockedError(f"{source.folder}: no valid.jsonl", hint=NO_ROWS)
        if not data_file.scan(path).size_bytes:
            raise BlockedError(f"{path}: no row", hint=NO_ROWS)
    except DataError as error:
        raise BlockedError(str(error), hint=error.hint or NO_ROWS) from error
    sections = source.sections.get("valid", [(1, data_source.settings(stub))])
    return HeldOut(path, sections, _numbers(settings))


def _numbers(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the settings that decide the batches; mlx-lm's defaults stand for the others."""
    found = {name: settings[name] for name in READ if name in settings}
    for name, value in found.items():
        least = {"val_batches": -1, "seed": 0}.get(name, 1)
        if type(value) is not int or value < least or (value == 0 and name == "val_batches"):
            raise BlockedError(f"{name} is {printable(value)}: no batch can be made with it")
    return found


def change(first: Trial | PreflightError, second: Trial | PreflightError) -> Change:
    """Return how far the logits of two trials are apart."""
    return distance(done(first).logits, done(second).logits)


def done(trial: Trial | PreflightError) -> Trial:
    """Return a trial, or raise why there is none."""
    if isinstance(trial, PreflightError):
        raise trial
    return trial


def distance(first: Path, second: Path) -> Change:
    """Return how far two files of logits are apart.

    Raises:
        BlockedError: They are not of the same shape.
    """
    difference = size = largest = 0.0
    with (
        np.load(first, allow_pickle=False) as one,
        np.load(second, allow_pickle=False) as two,
    ):
        for name in one.files:
            before, after = one[name].astype(np.float64), two[name].astype(np.float64)
            if before.shape != after.shape:
                shapes = f"{before.shape[-1]:,} and {after.shape[-1]:,} tokens"
                raise BlockedError(f"the logits are of {shapes}")
            if not (np.isfinite(before).all() and np.isfinite(after).all()):
                return Change(0.0, 0.0, finite=False)
            difference += float(np.square(after - before).sum())
            size += float(np.square(before).sum())
            largest = max(largest, float(np.abs(after - before).max()))
    return Change(math.sqrt(difference / size) if size else 0.0, largest)


def first_differences(one: Trial, two: Trial) -> list[int | None]:
    """Return for every answer the first token that differs; None where none does."""
    return [_first_difference(a, b) for a, b in zip(one.answers, two.answers, strict=True)]


def _first_difference(one: Sequence[int], two: Sequence[int]) -> int | None:
    places = (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    shorter = min(len(one), len(two))
    return next(places, None if len(one) == len(two) else shorter)
