"""Rehearsal of a training run: which slices are trained, and what they say of the whole run.

It imports mlx; `rehearsal` judges what it returns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.core.errors import UntraceableError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.units import format_duration
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.slices import Slice
from mlx_preflight.training import slice_children, slice_plan

PLAN_S = 60.0
"""Seconds that a rehearsal takes at most, by its own plan."""

WIDTHS = 3
"""Widths that are measured: the narrowest, a middle one, the widest."""

FORMAT = 2
"""Version of what is kept; another one is not read."""

START_S = 4.0
"""Seconds that a child takes to start and to draw its weights, roughly."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the slices of a run took.

    Attributes:
        slices: The slices.
        answers: What the child of each measured (`runtime.rehearsal_child`).
        predicted_bytes: Predicted peak of each at the widest width.
        settings: The whole run, at its widest width.
        seconds: What all of it took.
    """

    slices: tuple[Slice, ...]
    answers: tuple[Mapping[str, Any], ...]
    predicted_bytes: tuple[int, ...]
    settings: Settings
    seconds: float

    @property
    def parts(self) -> list[tuple[float, Mapping[str, Any]]]:
        """Return weight and answer of each slice."""
        return [(one.weight, answer) for one, answer in zip(self.slices, self.answers, strict=True)]

    @property
    def measured_bytes(self) -> tuple[int, ...]:
        """Return the peak of each slice at the widest width."""
        width = str(self.settings.max_seq_length)
        return tuple(int(answer["widths"][width]["peak_bytes"]) for answer in self.answers)

    @property
    def memory_ratios(self) -> tuple[float, ...]:
        """Return measured by predicted peak of each slice."""
        pairs = zip(self.measured_bytes, self.predicted_bytes, strict=True)
        return tuple(measured / predicted for measured, predicted in pairs)

    @property
    def rank_seconds(self) -> tuple[float, ...]:
        """Return what a step at the widest width takes each process; empty for a single one."""
        width, ranks = str(self.settings.max_seq_length), self.settings.ranks
        if ranks == 1:
            return ()
        every = [(weight, answer["widths"][width]["ranks"]) for weight, answer in self.parts]
        return tuple(sum(weight * taken[rank] for weight, taken in every) for rank in range(ranks))

    def describe(self) -> str:
        """Return what was trained, in words."""
        models = ", ".join(f"{one.blocks} ({one.adapted} adapted)" for one in self.slices)
        widths = ", ".join(sorted(self.answers[0]["widths"], key=int))
        each = f" in {self.settings.ranks} processes" if self.settings.ranks > 1 else ""
        took = format_duration(self.seconds)
        return f"slices of {models} blocks at {widths} tokens{each}, in {took}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rehearsal:
        """Return what `to_json` wrote."""
        return cls(
            tuple(Slice(**one) for one in document["slices"]),
            tuple(document["answers"]),
            tuple(document["predicted_bytes"]),
            Settings.from_json(document["settings"]),
            float(document["seconds"]),
        )


def key(config: Mapping[str, Any], settings: Settings) -> str:
    """Return the digest of everything that a rehearsal depends on, this machine included."""
    packages = {name: version(name) for name in ("mlx", "mlx-lm")}
    machine = environment.capture()["processor"]
    parts = [FORMAT, dict(config), dataclasses.asdict(settings), packages, machine]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def find(folder: Path, config: Mapping[str, Any], settings: Settings) -> Rehearsal | None:
    """Return a kept rehearsal of the same run on this machine; None without one."""
    path = folder / f"{key(config, settings)}.json"
    return Rehearsal.from_json(read_json(path)) if path.is_file() else None


def chosen_widths(widths: Sequence[int]) -> list[int]:
    """Return the narrowest, a middle and the widest width of a run's batches."""
    found = sorted(set(widths))
    if len(found) <= WIDTHS:
        return found
    middle = (found[0] + found[-1]) / 2
    return [found[0], min(found[1:-1], key=lambda width: abs(width - middle)), found[-1]]


def rehearse(
    config: Mapping[str, Any],
    settings: Settings,
    widths: Sequence[int],
    validation: Sequence[int],
    *,
    budget_bytes: int,
    note: Callable[[str], None],
    folder: Path | None = None,
    plan_s: float = PLAN_S,
) -> Rehearsal:
    """Train slices of a model in fresh children, one after the other.

    Args:
        config: The model's config.json; its weights may be absent.
        settings: The run; `max_seq_length` is replaced by the widest width.
        widths: Tokens per row of the training batches.
        validation: Those of the validation batches.
        budget_bytes: Memory that a child may take.
        note: Told what runs.
        folder: Where the rehearsal is kept; None keeps none.
        plan_s: Seconds that it may take.

    Raises:
        BlockedError: Not even the smallest slice fits, or ends in time.
        WorkerError: A step fails; the message is the exception's.
        ChildError: A child was killed.
        UntraceableError: A step works, and cannot be predicted.
    """
    started = time.perf_counter()
    run = dataclasses.replace(settings, max_seq_length=max(widths))
    trained, checked = chosen_widths(widths), chosen_widths(validation)[-2:]
    try:
        scouted = slice_plan.scout(config, run, trained[0], budget_bytes, plan_s, note)
        chosen, predicted = slice_plan.plan(config, run, trained, scouted, budget_bytes, plan_s)
    except UntraceableError:
        # What cannot be predicted may fail, too, and that is the answer.
        slice_plan.prove(config, run, trained[0], budget_bytes, plan_s)
        raise
    share = max(plan_s - (time.perf_counter() - started) - START_S * len(chosen), 3.0)
    answers = []
    for number, one in enumerate(chosen, 1):
        note(
            f"rehearsal {number} of {len(chosen)}: {one.blocks} blocks, {one.adapted} adapted, "
            f"at {', '.join(map(str, trained))} tokens"
        )
        job = {"widths": trained, "validation": checked, "seconds": share / len(chosen)}
        answers.append(slice_children.train(config, run, one, job, budget_bytes, 5 * plan_s))
    found = Rehearsal(
        chosen, tuple(answers), predicted, run, round(time.perf_counter() - started, 2)
    )
    if folder is not None:
        write_json(folder / f"{key(config, run)}.json", found.to_json())
    return found
