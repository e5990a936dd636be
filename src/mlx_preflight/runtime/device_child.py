"""Child that asks MLX about its device: `python -m … JOB ANSWER`.

In a process of its own: MLX aborts where it has no usable backend.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import mlx.core as mx

from mlx_preflight.core.child_main import run_job

SIZE = 512
"""Rows of the square matrices that are multiplied."""


def describe(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MLX says of its default device as JSON data.

    Args:
        job: `multiply` says whether a matrix product is timed.
    """
    device = mx.default_device()
    info = mx.device_info()
    keys = ("max_recommended_working_set_size", "total_memory", "free_memory")
    working_set, total, free = (info.get(key) for key in keys)
    return {
        "name": str(device),
        "gpu": device.type == mx.gpu,
        "working_set_bytes": working_set,
        "total_bytes": total,
        "free_bytes": free,
        "gflops": _gflops() if job["multiply"] else None,
    }


def _gflops() -> float:
    a = mx.random.normal((SIZE, SIZE))
    mx.eval(a @ a)
    best_s = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        mx.eval(a @ a)
        best_s = min(best_s, time.perf_counter() - begin)
    return 2 * SIZE**3 / best_s / 1e9


if __name__ == "__main__":
    sys.exit(run_job(describe, sys.argv[1:]))
