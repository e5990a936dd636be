"""Run worker children on a model: the parent's only door to mlx, which it never imports."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.errors import ChildError, ResultError, UsageError
from mlx_preflight.isolate import child_environment, redact, run_child
from mlx_preflight.json_file import read_json, write_json
from mlx_preflight.model import page_cache
from mlx_preflight.model.exchange import Generation, LoadReport, TrainingReport
from mlx_preflight.model.location import ResolvedModel, missing, prompts_for, resolve

__all__ = ["ResolvedModel", "missing", "prompts_for", "resolve"]

SEED = 0
TIMEOUT_S = 1800.0

_HINTS = {
    "MemoryError": "use a smaller or a quantized model, or close other programs",
    "not allowed to raise maximum limit": "raise the open-file limit: `ulimit -Hn 4096` or more",
    "current limit exceeds maximum limit": "raise the open-file limit: `ulimit -Hn 4096` or more",
    "requires importing and running": "code from a model folder is never run; use another model",
}
_OUT_OF_MEMORY = ("Unable to allocate", "out of memory", "Insufficient Memory", "bad_alloc")


class WorkerError(ChildError):
    """Report an exception inside a worker: the framework said no, nothing was killed."""


def ask(task: str, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Run one task in a fresh worker process and return its answer.

    Args:
        task: A key of `worker.TASKS`.
        request: JSON data for the task.
        timeout_s: Seconds after which the worker is killed.

    Raises:
        WorkerError: The task raised; the message is the exception's.
        ChildError: The worker was killed, timed out, or wrote no usable answer.
    """
    with tempfile.TemporaryDirectory(prefix="preflight-worker-") as folder:
        question, reply = Path(folder, "request.json"), Path(folder, "answer.json")
        write_json(question, {**request, "task": task, "folder": request.get("folder", folder)})
        done = run_child(
            (sys.executable, "-m", "mlx_preflight.model.worker", str(question), str(reply)),
            cwd=Path(folder),
            timeout_s=timeout_s,
            env=worker_environment(),
        )
        if death := done.death():
            raise ChildError(f"{task}: {death}", hint=_HINTS["MemoryError"])
        try:
            document = read_json(reply)
        except ResultError as error:
            last = (done.tail(1) or "no output").strip()
            raise ChildError(f"{task}: ended with status {done.returncode}: {last}") from error
    if not document.get("ok"):
        raise _worker_error(task, str(document.get("error")), str(document.get("message")))
    value: dict[str, Any] = document["value"]
    return value


def worker_environment() -> dict[str, str]:
    """Return a worker's environment: no tokens, no network for the hub's libraries."""
    return child_environment(
        {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MLXLM_USE_MODELSCOPE": "False",
            "TOKENIZERS_PARALLELISM": "false",
        }
    )


def _worker_error(task: str, kind: str, message: str) -> WorkerError:
    text = redact(message.strip().splitlines()[0] if message.strip() else "no message")
    if kind == "MemoryError" or any(phrase in message for phrase in _OUT_OF_MEMORY):
        return WorkerError(f"{task}: out of memory: {text}", hint=_HINTS["MemoryError"])
    hint = next((advice for phrase, advice in _HINTS.items() if phrase in message), "")
    return WorkerError(f"{task}: {kind}: {text}", hint=hint)


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
        seed: Set anew before each prompt.
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
