"""Choice of the slices of a rehearsal, by memory and time.

It imports mlx; `slice_runs` keeps what they answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_preflight.core.errors import (
    BlockedError,
    ChildTimeoutError,
    EstimateError,
    MemoryLimitError,
    PreflightError,
    WorkerError,
)
from mlx_preflight.core.units import format_bytes
from mlx_preflight.memory import installation, slices
from mlx_preflight.memory import predict as predicting
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.replay.costs import Costs
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.slices import Slice
from mlx_preflight.training import slice_children

SIZES = (24, 16, 12, 8, 6, 4, 3, 2, 1)
"""Blocks of the largest slice, tried in turn: the larger, the less is multiplied."""

STEPS = 4
"""Steps that a width takes at least."""

LEAST_APART = 2
"""Blocks that the largest slice has at least where time is short."""

MOST_SCOUTED = 6
"""Blocks with which every model of mlx_lm can be built."""

COLD_S = 45.0
"""Seconds that Python, MLX and its compiler may take to start for the first time on a machine:
over 20 s were seen on a new virtual machine whose disk was cold (2026-11-29)."""

NO_ROOM = "close other programs, or raise --budget-gb; what is predicted stays as it is"


@dataclass(frozen=True, slots=True)
class Scout:
    """What the smallest slice took.

    Attributes:
        step_s: Seconds of a step.
        costs: What it computed.
    """

    step_s: float
    costs: Costs

    def seconds(self, costs: Costs, width: int) -> float:
        """Return at most what another slice takes: arithmetic and calls grow each for itself."""
        found = costs.at(width)
        return self.step_s * max(
            found.all_flops / self.costs.all_flops, found.kernels / self.costs.kernels
        )


def _predicted(config: Mapping[str, Any], run: Settings, one: Slice) -> Prediction:
    return installation.traced(lambda: predicting.predict(one.config(config), one.settings(run)))


def scout(
    config: Mapping[str, Any],
    run: Settings,
    width: int,
    budget_bytes: int,
    plan_s: float,
    note: Callable[[str], None],
) -> Scout:
    """Train the smallest slice at the narrowest width.

    Raises:
        BlockedError: It does not fit, or takes too long.
        WorkerError: No size of slice can be trained; the message is the exception's.
    """
    job = {"widths": [width], "validation": [], "seconds": 0.0}
    timeout_s = plan_s + COLD_S
    chosen = scouts(config, run)
    _require_room(config, run, chosen[0], width, budget_bytes)
    note(f"rehearsal: {_blocks(chosen[0])} at {width} tokens")
    for one in chosen:
        try:
            answer = slice_children.train(config, run, one, job, budget_bytes, timeout_s)
        except MemoryLimitError as error:
            raise BlockedError(f"nothing can be rehearsed: {error}", hint=NO_ROOM) from error
        except ChildTimeoutError as error:
            raise BlockedError(
                f"a few steps of {_blocks(one)} take over {timeout_s:.0f} s on this machine: it is "
                f"too slow, or a step of {installation.pair()} never ends",
                hint="rehearse on the machine that trains, or with another pair of versions; "
                "without a rehearsal there is the prediction alone",
            ) from error
        except WorkerError:
            # Some models need several blocks; what no size can do is the step itself.
            if one == chosen[-1]:
                raise
            continue
        step_s = float(np.median(answer["widths"][str(width)]["seconds"][1:]))
        return Scout(step_s, _predicted(config, run, one).costs.at(width))
    raise BlockedError("the model has no blocks")


def _require_room(
    config: Mapping[str, Any], run: Settings, one: Slice, width: int, budget_bytes: int
) -> None:
    """Raise a `BlockedError` where not even the smallest slice is predicted to fit."""
    try:
        narrow = dataclasses.replace(run, max_seq_length=width)
        needed = _predicted(config, narrow, one).peak_bytes
    except (PreflightError, ValueError):
        return  # what cannot be predicted is tried, within its limit
    if needed > budget_bytes:
        raise BlockedError(
            f"nothing can be rehearsed: {format_bytes(needed)} for {_blocks(one)} at {width} "
            f"tokens, and the budget is {format_bytes(max(budget_bytes, 0))}",
            hint=NO_ROOM,
        )


def _blocks(one: Slice) -> str:
    return f"{one.blocks} block{'s' if one.blocks > 1 else ''}"


def scouts(config: Mapping[str, Any], run: Settings) -> list[Slice]:
    """Return small slices in which nothing is trained that the run does not train.

    A kind of block whose gradient fails is no fault of a run that leaves it frozen.

    Returns:
        The two smallest ones and the largest of few blocks, which every model can be built with.

    Raises:
        BlockedError: There is none.
    """
    found: list[Slice] = []
    try:
        kinds = slices.kinds(config, run)
    except EstimateError:
        # No model can be built: what the child says of a small one names why.
        sizes = (1, 2, MOST_SCOUTED)
        return [Slice(size, 1) for size in sizes if size <= slices.blocks_of(config)]
    for one, _ in _trainable(config, run, kinds):
        if found and one.blocks > MOST_SCOUTED:
            break
        if not found or one.blocks > found[-1].blocks:
            found.append(one)
    if not found:
        raise BlockedError(
            f"nothing can be rehearsed: {SIZES[0]} blocks do not hold what the run trains",
            hint="what is predicted stays as it is",
        )
    return list(dict.fromkeys([*found[:2], found[-1]]))


def _trainable(
    config: Mapping[str, Any], run: Settings, whole: Sequence[str]
) -> Iterator[tuple[Slice, frozenset[tuple[str, str]]]]:
    """Yield slices that train nothing which the whole run leaves frozen, and what they train."""
    wanted = set(slices.features(whole, run.num_layers))
    for blocks in range(1, min(slices.blocks_of(config), SIZES[0]) + 1):
        try:
            kinds = slices.kinds(slices.cut(config, blocks), run)
        except EstimateError:
            continue  # (the model's own code, of fewer blocks than it knows)
        for adapted in range(1, blocks + 1):
            found = set(slices.features(kinds, adapted))
            if found <= wanted:
                yield Slice(blocks, adapted), frozenset(x for x in found if x[0] == "adapted")


def prove(
    config: Mapping[str, Any], run: Settings, width: int, budget_bytes: int, plan_s: float
) -> None:
    """Train every kind of block that the run trains, where its steps cannot be predicted.

    Raises:
        WorkerError: A step fails.
        ChildError: The child was killed or took too long.
    """
    kinds = slices.kinds(config, run)
    every = slices.features(kinds, run.num_layers)
    wanted = {item for item in every if item[0] == "adapted"}
    one = next((one for one, trained in _trainable(config, run, kinds) if trained == wanted), None)
    if one is not None:
        job = {"widths": [width], "validation": [], "seconds": 0.0}
        slice_children.train(config, run, one, job, budget_bytes, plan_s + COLD_S)


def plan(
    config: Mapping[str, Any],
    run: Settings,
    widths: Sequence[int],
    scouted: Scout,
    budget_bytes: int,
    plan_s: float,
) -> tuple[tuple[Slice, ...], tuple[int, ...]]:
    """Return the largest slices that fit memory and time, and their predicted peaks."""
    reason = ""
    for most in SIZES:
        try:
            chosen = slices.choose(config, run, most)
        except ValueError as error:
            reason = reason or str(error)
            break  # smaller ones hold fewer kinds
        peaks: dict[Slice, Prediction] = {}
        seconds = 0.0
        for one in sorted(chosen, key=lambda slice_: -slice_.blocks):
            peaks[one] = _predicted(config, run, one)
            seconds += sum(scouted.seconds(peaks[one].costs, width) for width in widths)
            if STEPS * seconds > plan_s and most > LEAST_APART:
                break
        else:
            if max(peak.peak_high_bytes for peak in peaks.values()) <= budget_bytes:
                return chosen, tuple(peaks[one].peak_bytes for one in chosen)
            reason = f"slices of {most} blocks do not fit into {format_bytes(budget_bytes)}"
    raise BlockedError(
        f"nothing can be rehearsed: {reason}",
        hint=NO_ROOM,
    )
