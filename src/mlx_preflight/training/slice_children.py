"""Children that train a slice: one, or as many as the run has processes."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlx_preflight.core import child, child_run
from mlx_preflight.core.errors import ChildError
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.slices import Slice

CHILD = "mlx_preflight.runtime.rehearsal_child"

RANKS = "mlx_preflight.runtime.ranks_child"


def train(
    config: Mapping[str, Any],
    run: Settings,
    one: Slice,
    job: Mapping[str, Any],
    budget_bytes: int,
    timeout_s: float,
) -> Mapping[str, Any]:
    """Train a slice in a fresh child, or in as many as the run has processes.

    Args:
        config: The whole model's config.
        run: The whole run.
        one: The slice.
        job: Widths and seconds, see `runtime.rehearsal_child`.
        budget_bytes: Memory that a child may take.
        timeout_s: Seconds after which it is killed.

    Raises:
        WorkerError: A step fails.
        ChildError: A child was killed or took too long.
    """
    settings = one.settings(run)
    asked = {
        **job,
        "config": json.dumps(one.config(config)),
        "settings": dataclasses.asdict(settings),
        "memory_limit_bytes": budget_bytes,
        "seed": 0,
    }
    label = f"rehearsing {config.get('model_type')}"
    if run.ranks == 1:
        found: Mapping[str, Any] = child.call(CHILD, asked, timeout_s=timeout_s, label=label).value
        return found
    together = {"module": CHILD, "ranks": run.ranks, "job": asked}
    answers = child.call(RANKS, together, timeout_s=timeout_s, label=label).value
    return _slowest([_value(answer, rank, label) for rank, answer in enumerate(answers)])


def _value(answer: Any, rank: int, label: str) -> Mapping[str, Any]:
    """Return what a rank measured, or raise why it did not; one that died says nothing of steps."""
    if answer is None:
        raise ChildError(
            f"{label}: rank {rank} was killed, or left no answer",
            hint="close other programs, or raise --budget-gb; each process has its part of it",
        )
    if not answer["ok"]:
        message = f"rank {rank}: {answer['message']}"
        raise child_run.task_error(label, str(answer["error"]), message)
    found: Mapping[str, Any] = answer["value"]
    return found


def _slowest(answers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what several processes answered as that of one: they wait for each other.

    The peak is the highest of them; `ranks` has what a step took each.
    """
    found = copy.deepcopy(dict(answers[0]))
    for kind in ("widths", "validation"):
        for width, one in found[kind].items():
            every = [answer[kind][width] for answer in answers]
            one["peak_bytes"] = max(other["peak_bytes"] for other in every)
            one["seconds"] = [
                max(taken) for taken in zip(*(o["seconds"] for o in every), strict=True)
            ]
            one["ranks"] = [float(np.median(other["seconds"])) for other in every]
    return found
