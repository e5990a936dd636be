"""Steps of the user's earlier runs, as `watch` recorded them: the best source of a run's hours.

The file is the user's and still untrusted: a line that is damaged or impossible is left out,
and said by its number.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlx_preflight.core import user_data
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.memory.settings import Settings
from mlx_preflight.training import calibration_file, run_curve
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.run_curve import Steps
from mlx_preflight.training.step_times import StepTimes

SCHEMA = 2
"""Records that hold `steps`; those before hold no seconds by width, and are passed over."""

MOST_LINE_BYTES = 200_000
"""A longer line is none of the watch's: `run_curve.MOST_WINDOWS` have some 20 kB."""

MOST_READ_BYTES = 4_000_000
"""Bytes of each file that are read, from its end."""

MEAN_SLACK = 0.1
"""Share by which the mean width of a run may be outside of those that were timed."""

MOST_RUNS = 5
"""Earlier runs that are compared; older ones are passed over."""

SEVERAL = 3
"""Runs from which their differences say how far the next one may be off."""

MOST_NOTES = 3

PACKAGES = ("mlx", "mlx-lm")


def digest(config: Mapping[str, Any], settings: Settings) -> str:
    """Return the digest of what decides a step beside its width, the machine and the versions.

    Args:
        config: The model's config.json.
        settings: The run, at any width.
    """
    parts = [dict(config), dataclasses.asdict(dataclasses.replace(settings, max_seq_length=0))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def seal(document: Mapping[str, Any]) -> str:
    """Return the digest of a record without its own."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OwnRun:
    """An earlier run.

    Attributes:
        started: When.
        machine: As `calibration_file.machine` has it.
        versions: Distribution → version.
        steps: What its steps took.
    """

    started: dt.datetime
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    steps: Steps

    def obstacle(self, batches: Batches) -> str:
        """Return why it says nothing of another run of the same model and settings; or nothing."""
        here = calibration_file.machine()
        if any(self.machine.get(name) != value for name, value in here.items()):
            return "it was made on another machine"
        if any(self.versions.get(name) != version(name) for name in PACKAGES):
            return "it was made with other versions of mlx or mlx-lm"
        if self.steps.paged:
            return "the system was swapping meanwhile"
        if len(self.steps.windows) < run_curve.LEAST_WINDOWS:
            return f"it has under {run_curve.LEAST_WINDOWS} rows of progress"
        return _uncovered(self.steps, batches.widths)

    def describe(self) -> str:
        """Return it in words."""
        return (
            f"your run of {self.started:%Y-%m-%d} ({self.steps.count:,} steps of the same model "
            f"and settings, {self.steps.widths[0]} to {self.steps.widths[1]} tokens)"
        )


def _uncovered(steps: Steps, widths: Sequence[int]) -> str:
    """Return how widths are outside of those that were timed; empty where they are not."""
    least, most = steps.widths
    if min(widths) < least or max(widths) > most:
        return (
            f"its batches had {least} to {most} tokens, and these have {min(widths)} to "
            f"{max(widths)}"
        )
    means = [window.tokens / window.steps for window in steps.windows]
    mean = sum(widths) / len(widths)
    if not min(means) * (1 - MEAN_SLACK) <= mean <= max(means) * (1 + MEAN_SLACK):
        return f"its batches had {sum(means) / len(means):.0f} tokens on average, these {mean:.0f}"
    return ""


def find(
    config: Mapping[str, Any], settings: Settings, batches: Batches, note: Callable[[str], None]
) -> StepTimes | None:
    """Return the times of the latest runs of the same model, settings, machine and versions.

    Of several the one of the median speed counts: one that met another program counts little.

    Args:
        config: The model's config.json.
        settings: The run, with all of its processes.
        batches: Its batches, whose widths the earlier runs must cover.
        note: Told which runs and lines are not used, and why.
    """
    wanted = digest(config, settings)
    usable: list[OwnRun] = []
    reasons: list[str] = []
    for run in reversed(list(_runs(wanted, reasons.append))):
        if why := run.obstacle(batches):
            reasons.append(f"your run of {run.started:%Y-%m-%d} is not used: {why}")
        else:
            usable.append(run)
        if len(usable) == MOST_RUNS:
            break
    _say(list(dict.fromkeys(reasons)), note)
    return _median(usable, batches.widths) if usable else None


def _say(reasons: Sequence[str], note: Callable[[str], None]) -> None:
    for reason in reasons[:MOST_NOTES]:
        note(reason)
    if len(reasons) > MOST_NOTES:
        note(f"{len(reasons) - MOST_NOTES:,} more earlier runs or lines are not used")


def _median(runs: Sequence[OwnRun], widths: Sequence[int]) -> StepTimes:
    """Return the times of the run of the median speed, and how far the others are from it.

    Args:
        runs: The latest first.
        widths: Tokens per row of the batches whose time is asked for.
    """
    every = [run_curve.times(run.steps, "") for run in runs]
    seconds = [float(one.train.at(widths).sum()) for one in every]
    middle = statistics.median_low(seconds)
    chosen = seconds.index(middle)
    apart = statistics.median(abs(one / middle - 1) for one in seconds)
    base = run_curve.ERROR if len(runs) >= SEVERAL else run_curve.ERROR_ALONE
    run = runs[chosen]
    among = f", of the median speed of {len(runs)}" if len(runs) > 1 else ""
    return dataclasses.replace(
        every[chosen],
        error=base + 2 * max(every[chosen].spread, apart),
        spread=max(every[chosen].spread, apart),
        source=f"{run.describe()}{among}",
    )


def _runs(wanted: str, note: Callable[[str], None]) -> Iterator[OwnRun]:
    """Yield the recorded runs of a digest, the earliest first."""
    newest = user_data.runs_file()
    for file in (user_data.older(newest), newest):
        for number, line in _lines(file, note):
            try:
                found = _run_of(line, wanted)
            except ResultError as error:
                note(f"{file.name}: line {number} from the end is not used: {error}")
                continue
            except (ValueError, TypeError, KeyError, OverflowError):
                # Our own words: what a line holds is nobody's to print.
                said = "a field is missing or of another type"
                note(f"{file.name}: line {number} from the end is not used: {said}")
                continue
            if found is not None:
                yield found


def _lines(file: Path, note: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
    """Yield the last lines of a file, each with its number from the end, the earliest first."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - MOST_READ_BYTES))
            lines = stream.read(MOST_READ_BYTES).split(b"\n")
    except FileNotFoundError:
        return  # there is no earlier run
    except OSError as error:
        note(f"{file}: earlier runs are not used: {error.strerror}")
        return
    if size > MOST_READ_BYTES:
        del lines[0]  # its beginning was not read
    kept = [line for line in lines if line.strip()]
    yield from ((len(kept) - index, line) for index, line in enumerate(kept))


def _run_of(line: bytes, wanted: str) -> OwnRun | None:
    """Return the run of a line; None where it is of another model, settings or schema.

    Raises:
        ResultError: It is damaged; the message quotes nothing of the line.
        ValueError, KeyError, TypeError, OverflowError: A field is missing or of another type.
    """
    if len(line) > MOST_LINE_BYTES:
        raise ResultError(f"over {MOST_LINE_BYTES:,} bytes")
    try:
        document = parse_json(line, max_values=20_000)
    except ValueError as error:
        raise ResultError("no JSON, or a number that is none") from error
    if not isinstance(document, dict):
        raise ResultError("no record")
    if document.get("schema") != SCHEMA:
        if document.get("schema") == 1:
            return None
        raise ResultError(f"of another schema than {SCHEMA}")
    steps = document["steps"]
    if steps is None or steps["digest"] != wanted:
        return None
    if document["sha256"] != seal(document):
        raise ResultError("its digest is of another content")
    environment = document["environment"]
    try:
        started = dt.datetime.fromisoformat(document["started"])
    except ValueError as error:
        raise ResultError("it has no time") from error
    return OwnRun(
        started, dict(environment), dict(environment["packages"]), run_curve.read_steps(steps)
    )
