"""Child that times what a training step is made of: `python -m … JOB ANSWER`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx

from mlx_preflight.core.child_main import run_job

INNER, OUTER = 512, 512
"""Sides of the measured weights: those of a small block."""

TOKENS = (16, 64, 256, 1024)
"""Rows of the measured products."""

COPIED = 1 << 22
"""Numbers in an array that is read and written."""

CHAIN = 400
"""Small primitives in a row, whose time is what starting one costs."""

LEAST, MOST = 2, 200
"""Repeats of a figure."""

SLOW = 4
"""Times its share from which a figure is slow."""


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return rates of products, of traffic, and the cost of a primitive.

    Args:
        job: `backend`, `kinds` (pairs of dtype and bits; None is unquantized), `group_size` and
            `seconds` that each figure may take.

    Returns:
        `products`: kind → tokens → operations per second; `bytes_s`; `kernel_s`.
    """
    if job["backend"] == "cpu":
        mx.set_default_device(mx.cpu)
    products = {f"{dtype}/{bits or 0}": _rates(dtype, bits, job) for dtype, bits in job["kinds"]}
    return {"products": products, "bytes_s": _traffic(job), "kernel_s": _kernel(job)}


def _fastest(action: Callable[[], Any], limit_s: float) -> float:
    """Return the median seconds of an action, which is warmed up first."""
    mx.eval(action())
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < LEAST or (len(taken) < MOST and time.perf_counter() - begin < limit_s):
        start = time.perf_counter()
        mx.eval(action())
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def _rates(dtype: str, bits: int | None, job: Mapping[str, Any]) -> dict[str, float]:
    """Return rates by tokens; where products are slow, more tokens make them no faster."""
    found: dict[str, float] = {}
    for tokens in TOKENS:
        begin = time.perf_counter()
        found[str(tokens)] = _product(dtype, bits, job["group_size"], tokens, job["seconds"])
        if time.perf_counter() - begin > SLOW * job["seconds"]:
            break
    return found


def _product(dtype: str, bits: int | None, group: int, tokens: int, limit_s: float) -> float:
    kind = getattr(mx, dtype)
    x = mx.random.normal((tokens, INNER)).astype(kind)
    weight = mx.random.normal((OUTER, INNER)).astype(kind)
    if bits:
        packed = mx.quantize(weight, group_size=group, bits=bits)
        mx.eval(x, *packed)

        def run() -> Any:
            return mx.quantized_matmul(x, *packed, group_size=group, bits=bits)

    else:
        mx.eval(x, weight)

        def run() -> Any:
            return x @ weight.T

    return 2.0 * tokens * INNER * OUTER / _fastest(run, limit_s)


def _traffic(job: Mapping[str, Any]) -> float:
    array = mx.zeros((COPIED,), mx.float32)
    mx.eval(array)
    return 2 * array.nbytes / _fastest(lambda: array + 1, job["seconds"])


def _kernel(job: Mapping[str, Any]) -> float:
    array = mx.zeros((16,), mx.float32)
    mx.eval(array)

    def chain() -> Any:
        found = array
        for _ in range(CHAIN):
            found = found + 1
        return found

    return _fastest(chain, job["seconds"]) / CHAIN


if __name__ == "__main__":
    sys.exit(run_job(measure, sys.argv[1:]))
