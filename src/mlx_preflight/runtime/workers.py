"""Worker children on a model, for a parent that never imports mlx itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, UsageError, WorkerError
from mlx_preflight.models.locate import ResolvedModel, missing, prompts_for, resolve
from mlx_preflight.runtime import page_cache
from mlx_preflight.runtime.messages import Generation, LoadReport, TrainingReport

__all__ = ["ResolvedModel", "missing", "prompts_for", "resolve"]

NOT_ON_THIS_BACKEND = (
    "Currently only supports float32",
    "::eval_cpu] only supports",
    "[metal_kernel]",
    "No Metal back-end",
    "has no CPU implementation",
    "has no GPU implementation",
    "not yet supported on the GPU",
    "GPU scatter does not yet support",
    "is not supported on the GPU",
    "QQMatmul] NYI",
    "GatherQQMM] NYI",
)
"""Parts of the messages by which mlx 0.32 says that the default device cannot compute
something (strings of libmlx); another device can."""

OTHER_BACKEND = (
    "run it on Apple silicon, whose Metal backend has it, or here on weights that are quantized "
    "or float32: `mlx_lm.convert --hf-path MODEL --dtype float32`"
)

SEED = 0
TIMEOUT_S = 1800.0


def ask(task: str, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Run one task in a fresh worker process and return its answer.

    Args:
        task: A key of `worker.TASKS`, or `import`.
        request: JSON data for the task.
        timeout_s: Seconds after which the worker is killed.

    Raises:
        BlockedError: MLX's backend here has no such operation, whatever the model.
        WorkerError: The task raised; the message is the exception's.
        ChildError: The worker was killed, timed out, or wrote no usable answer.
    """
    module = "mlx_preflight.runtime.worker"
    job = {**request, "task": task}
    try:
        value: dict[str, Any] = child.call(module, job, timeout_s=timeout_s, label=task).value
    except WorkerError as error:
        if any(phrase in str(error) for phrase in NOT_ON_THIS_BACKEND):
            said = f"MLX's backend on this machine lacks an operation: {error}"
            raise BlockedError(said, hint=OTHER_BACKEND) from error
        raise
    return value


def load(path: Path, *, timeout_s: float = TIMEOUT_S) -> LoadReport:
    """Load a model in a worker with whatever the page cache holds, and look at it."""
    return LoadReport.from_json(ask("load", {"path": str(path)}, timeout_s=timeout_s))


def load_cold(path: Path, *, timeout_s: float = TIMEOUT_S) -> tuple[LoadReport, bool]:
    """Load a model after dropping its weights from the page cache.

    Returns:
        The report, and whether the cache was really dropped; if not, the loading time is
        a warm one.
    """
    weights = [Path(os.path.realpath(file)) for file in path.glob("*.safetensors")]
    forced = page_cache.evict(weights) if weights else False
    return load(path, timeout_s=timeout_s), forced


def generate(
    path: Path,
    prompts: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    seed: int = SEED,
    temperature: float = 0.0,
    warm_up: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Generation:
    """Answer prompts in a worker.

    Args:
        path: Folder of the model.
        prompts: `{"id", "prompt"}`; further keys are ignored.
        max_tokens: Longest answer; shorter where the model's positions end.
        seed: Set again before each prompt.
        temperature: 0 is greedy.
        warm_up: Answer the first prompt once before measuring.
        timeout_s: Seconds for all of it.
    """
    if not prompts:
        raise UsageError("no prompt to answer")
    request = {
        "path": str(path),
        "prompts": [{"id": item["id"], "prompt": item["prompt"]} for item in prompts],
        "max_tokens": max_tokens,
        "seed": seed,
        "temperature": temperature,
        "warm_up": warm_up,
    }
    return Generation.from_json(ask("generate", request, timeout_s=timeout_s))


def train(
    path: Path,
    prompts: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    row_tokens: int,
    seed: int = SEED,
    timeout_s: float = TIMEOUT_S,
) -> TrainingReport:
    """Run QLoRA steps in a worker on rows made from the prompts; the adapter is discarded."""
    request = {
        "path": str(path),
        "prompts": list(prompts),
        "steps": steps,
        "row_tokens": row_tokens,
        "seed": seed,
    }
    return TrainingReport.from_json(ask("train", request, timeout_s=timeout_s))
