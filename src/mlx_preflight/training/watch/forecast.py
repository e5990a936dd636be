"""What the judge of training runs knows of a command before it is started.

A child computes it and has ended before the run starts: it takes neither memory nor time of
the run. Where something cannot be judged, the run is watched all the same, and what is then
not compared is said.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.training.command import LAUNCHER, PROGRAMS

JUDGE_S = 600.0
"""Seconds that the judgement may take; 100,000 rows, read for the first time, take two minutes."""

WRAPPED = 12
"""Words in which the trainer is looked for, behind `caffeinate -is`, `uv run` or `nice -n 5`."""

CHILD = "mlx_preflight.training.watch.forecast_child"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Prediction for one run; None stands for what is not known.

    Attributes:
        unknown: What is not known, each with its reason.
        model: Model of the run.
        settings: Its settings, as far as they decide speed and memory; no path and no name.
        peak_bytes: Peak of MLX in one process.
        peak_low_bytes: Lower end of its interval.
        peak_high_bytes: Upper end.
        peak_iteration: Iteration in which it comes first.
        here: Processes of the run on this machine.
        iters: Iterations.
        save_every: Iterations between two saves.
        steps_per_eval: Iterations between two validations.
        adapter_folder: Folder of the adapter files.
        adapter_bytes: Size of one.
        widths: Tokens per row, padded, of every iteration.
        nan_iterations: First iterations without a trained token.
        nan_count: How many such iterations there are.
        step_s: Seconds of every iteration's step, validations not counted.
        digest: Of what decides a step (`own_runs.digest`); empty where what it takes here says
            nothing of later runs.
        validations: Number of batches and sum of their widths, of every validation.
    """

    unknown: tuple[str, ...] = ()
    model: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    peak_bytes: int | None = None
    peak_low_bytes: int | None = None
    peak_high_bytes: int | None = None
    peak_iteration: int | None = None
    here: int = 1
    iters: int | None = None
    save_every: int | None = None
    steps_per_eval: int | None = None
    adapter_folder: str | None = None
    adapter_bytes: int | None = None
    widths: tuple[int, ...] | None = None
    nan_iterations: tuple[int, ...] = ()
    nan_count: int = 0
    step_s: tuple[float, ...] | None = None
    digest: str = ""
    validations: tuple[tuple[int, int], ...] = ()

    @property
    def folder(self) -> Path | None:
        """Return the folder of the adapter files."""
        return None if self.adapter_folder is None else Path(self.adapter_folder)

    def next_save(self, iteration: int) -> int | None:
        """Return the iteration of the first numbered save after one; None without any."""
        if not self.save_every or self.iters is None:
            return None
        following = (iteration // self.save_every + 1) * self.save_every
        return following if following <= self.iters else None


def trainer_words(words: Sequence[str]) -> Sequence[str] | None:
    """Return the words from the trainer on, less what wraps it; None where it is not in them."""
    for start in range(min(len(words), WRAPPED)):
        rest = [Path(words[start]).name, *words[start + 1 :]]
        if rest[0] == LAUNCHER or any(rest[: len(p)] == list(p) for p in PROGRAMS):
            return words[start:]
    return None


def predict(words: Sequence[str], folder: Path) -> Forecast:
    """Return what is known of a command.

    Args:
        words: The command.
        folder: Where it is started.
    """
    trainer = trainer_words(words)
    if trainer is None:
        reason = "this is no command of mlx_lm.lora: no peak, batch or save of it is known"
        return Forecast(unknown=(reason,))
    job = {"words": list(trainer), "folder": str(folder)}
    try:
        answer = child.call(CHILD, job, timeout_s=JUDGE_S).value
    except PreflightError as error:
        return Forecast(unknown=(f"the run cannot be judged: {error}",))
    lists = {name: tuple(value) for name, value in answer.items() if isinstance(value, list)}
    found = Forecast(**{**answer, **lists})
    return found if runs_here(words) else dataclasses.replace(found, digest="")


NEUTRAL = frozenset({"caffeinate", "nice", "nohup", "time"})
"""Commands that start another one as this installation has it."""


def runs_here(words: Sequence[str]) -> bool:
    """Return whether a command runs the mlx-lm of this installation, whose versions are known."""
    trainer = trainer_words(words)
    if trainer is None:
        return False
    before = words[: len(words) - len(trainer)]
    if not all(Path(w).name in NEUTRAL or w.startswith("-") or w.isdigit() for w in before):
        return _is_here(before[-1]) if _is_python(before) else False
    return _is_here(trainer[0]) and "--python" not in trainer


def _is_python(before: Sequence[str]) -> bool:
    return len(before) == 1 and Path(before[0]).name.startswith("python")


def _is_here(program: str) -> bool:
    found = shutil.which(program)
    return found is not None and Path(found).absolute().parent == Path(sys.executable).parent


def to_json(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON data."""
    return dataclasses.asdict(forecast)
