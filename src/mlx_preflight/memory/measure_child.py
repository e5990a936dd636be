"""One run of MLX-LM's trainer or generator, whose memory and time are measured.

Started by `measure` in a fresh process: `python -m mlx_preflight.memory.measure_child JOB
ANSWER`. It prints nothing that matters; the answer is a JSON file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import psutil
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

from mlx_preflight.core.child_main import OVER_LIMIT, peak_rss_bytes, run_job
from mlx_preflight.core.units import format_bytes
from mlx_preflight.memory import architecture, quantization, trainer
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models.quantization import read_quantization

GUARD_S = 0.02
"""Seconds between two readings of the memory."""


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run the trainer or the generator as the job says, and return memory and time."""
    settings = Settings.from_json(job["settings"])
    job["config"] = json.loads(job["config"])
    if job["memory_limit_bytes"]:
        guard(int(job["memory_limit_bytes"]))
    if settings.backend == "cpu":
        mx.set_default_device(mx.cpu)
    mx.random.seed(job["seed"])
    model = _model(job, settings)
    run = _generate if settings.inference else _train
    return run(job, settings, model)


def guard(limit: int) -> None:
    """Let a thread end this process, with `OVER_LIMIT`, once it uses more than the limit."""
    threading.Thread(target=_watch, args=(limit,), daemon=True).start()


def _watch(limit: int) -> None:
    """End the process once it uses more than the limit.

    Not by a resource limit: macOS ignores that on the address space, and resident memory
    leaves out Metal's buffers there, so MLX is asked too.
    """
    process = psutil.Process()
    while True:
        used = max(process.memory_info().rss, mx.get_active_memory() + mx.get_cache_memory())
        if used > limit:
            text = f"used {format_bytes(used)}, more than the limit of {format_bytes(limit)}"
            print(text, file=sys.stderr, flush=True)
            os._exit(OVER_LIMIT)
        time.sleep(GUARD_S)


def _model(job: dict[str, Any], settings: Settings) -> Any:
    """Return the evaluated model, of real weights when the job names a folder."""
    if job["weights"]:
        model, _ = load_model(Path(job["weights"]))
        architecture.cast(model, settings)
        if read_quantization(job["config"]) is None:
            quantization.quantize(model, job["config"], settings)
    else:
        model = architecture.build(job["config"], settings)
    # One by one, so that the guard sees memory grow, and random ones are not all drawn unquantized.
    for _, array in tree_flatten(model.parameters()):
        mx.eval(array)
    return model


def _train(job: dict[str, Any], settings: Settings, model: Any) -> dict[str, Any]:
    row = _tokens(model, settings.max_seq_length)
    rows = [(row, 0)] * settings.batch_size
    optimizer = architecture.optimizer(model, settings, initialised=False)
    steps = trainer.train(model, optimizer, settings, rows, steps=int(job["steps"]))
    tokens = settings.batch_size * (settings.max_seq_length - 1)
    return _answer(steps.before_bytes, steps.step_s, tokens)


def _generate(_: dict[str, Any], settings: Settings, model: Any) -> dict[str, Any]:

    prompt = mx.array(_tokens(model, settings.prompt_tokens))
    mx.eval(prompt)
    model.eval()
    before = trainer.reset_peak()
    seconds: list[float] = []
    last = time.perf_counter()
    tokens = generate_step(
        prompt, model, max_tokens=settings.generate_tokens, kv_bits=settings.kv_bits
    )
    for _ in tokens:
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    return _answer(before, seconds, 1)


def _tokens(model: Any, count: int) -> list[int]:
    vocabulary = architecture.vocabulary(model)
    return [(7 * i + 3) % vocabulary for i in range(count)]


def _answer(before: int, seconds: list[float], tokens: int) -> dict[str, Any]:

    steady = seconds[1:] or seconds
    return {
        "peak_bytes": int(mx.get_peak_memory()),
        "before_bytes": before,
        "cache_bytes": int(mx.get_cache_memory()),
        "process_peak_bytes": peak_rss_bytes(),
        "step_s": seconds,
        "tokens_per_s": tokens * len(steady) / sum(steady) if steady else 0.0,
    }


if __name__ == "__main__":
    sys.exit(run_job(measure, sys.argv[1:]))
