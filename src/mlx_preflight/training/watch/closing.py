"""Last lines of a watched run: what was true, and how it goes on where it did not finish."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from mlx_preflight.core.units import format_bytes, format_interval, format_seconds
from mlx_preflight.training.watch.comparison import format_duration
from mlx_preflight.training.watch.forecast import Forecast, trainer_words
from mlx_preflight.training.watch.saves import Adapter
from mlx_preflight.training.watch.supervisor import Ending

LOST = (
    "a resume loses the optimizer's state, the place in the data (the seed starts again with the "
    "first batch) and the place in the learning rate schedule (warm-up included); its files are "
    "numbered from 1 again and overwrite those of the same folder"
)
"""What mlx-lm does not save (mlx-lm#97; mlx_lm/lora.py and tuner/trainer.py 0.32)."""


def lines(words: Sequence[str], ending: Ending) -> Iterator[str]:
    """Yield the lines.

    Args:
        words: The command.
        ending: Its end.
    """
    yield _summary(ending)
    forecast = ending.comparison.forecast
    spoiled = ending.comparison.nan_after is not None
    if forecast.iters is None or (ending.finished and not spoiled):
        return
    usable = ending.comparison.usable()
    if usable is None:
        yield "no usable adapter file was saved"
        return
    yield f"the last usable adapter file is {usable.path}, of iteration {usable.iteration:,}"
    if spoiled:
        yield "a resume meets the same rows: make the loss a number first"
    elif command := resume_command(words, forecast, usable):
        yield f"to resume it: {command}"
        yield LOST


def _summary(ending: Ending) -> str:
    """Return peak, seconds per step and iterations, beside what was predicted."""
    seen, known = ending.comparison, ending.comparison.forecast
    said = [f"exit code {ending.code} after {format_duration(ending.duration_s)}"]
    if seen.progress:
        of = "" if known.iters is None else f" of {known.iters:,}"
        said.append(f"{seen.progress:,}{of} iterations")
    if (step_s := seen.pace.step_s()) is not None:
        said.append(f"{format_seconds(step_s)} per step")
    if seen.peak_bytes:
        said.append(f"its processes held {format_bytes(seen.peak_bytes)} at most")
    if seen.reported_peak_bytes is not None:
        said.append(f"MLX's peak {format_bytes(seen.reported_peak_bytes)}")
    if known.peak_low_bytes is not None and known.peak_high_bytes is not None:
        interval = format_interval(known.peak_low_bytes, known.peak_high_bytes)
        said.append(f"predicted for MLX {interval}")
    return "; ".join(said)


def resume_command(words: Sequence[str], forecast: Forecast, adapter: Adapter) -> str:
    """Return the command that makes the remaining iterations; empty where none remain.

    The trainer's parser takes the last of two equal options.
    """
    left = (forecast.iters or 0) - adapter.iteration
    if left <= 0 or trainer_words(words) is None:
        return ""
    more = ("--resume-adapter-file", str(adapter.path), "--iters", str(left))
    return shlex.join([*words, *more])
