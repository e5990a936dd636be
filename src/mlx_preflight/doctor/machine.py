"""Examine the machine: BLAS on Linux, Metal's working set, swap."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mlx_preflight import environment
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.isolate import run_child

SLOW_GFLOPS = 20.0
"""Float32 matmul below this is a reference BLAS: measured 3-7 with the one that MLX's Linux
wheel ships and 120-230 with OpenBLAS, on two x86-64 cores (mlx-cpu 0.32.4, 2026-11-23)."""

OPENBLAS = (
    "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0",
    "/usr/lib/aarch64-linux-gnu/openblas-pthread/libopenblas.so.0",
)
"""Where Debian and Ubuntu put OpenBLAS (package libopenblas0-pthread)."""

_PROBE = """
import json, time
import mlx.core as mx
device = mx.default_device()
a = mx.random.normal((512, 512))
mx.eval(a @ a)
best = 1e9
for _ in range(3):
    begin = time.perf_counter()
    mx.eval(a @ a)
    best = min(best, time.perf_counter() - begin)
info = mx.device_info() if hasattr(mx, "device_info") else {}
print(json.dumps({
    "device": str(device),
    "gflops": 2 * 512**3 / best / 1e9,
    "working_set_bytes": info.get("max_recommended_working_set_size"),
}))
"""


def examine(timeout_s: float) -> list[Finding]:
    """Return findings on arithmetic speed, the GPU's working set and swap.

    Args:
        timeout_s: Longest time for the probe, which multiplies two 512x512 matrices.
    """
    done = run_child([sys.executable, "-c", _PROBE], cwd=Path.cwd(), timeout_s=timeout_s + 8)
    if done.returncode != 0:
        return [
            Finding(
                "machine",
                Severity.PROBLEM,
                f"MLX cannot compute: {done.death() or done.tail(1)}",
                "nothing can be loaded or trained without a working backend",
                'python3 -m pip install --force-reinstall "mlx[cpu]" (Linux) or mlx (macOS)',
            ),
            *_swap(),
        ]
    probe = json.loads(done.stdout.splitlines()[-1])
    return [*_speed(probe), *_working_set(probe), *_swap()]


def _speed(probe: dict[str, object]) -> list[Finding]:
    gflops, device = float(str(probe["gflops"])), str(probe["device"])
    saw = f"float32 matrix product on {device}: {gflops:.0f} GFLOP/s"
    if "cpu" not in device or gflops >= SLOW_GFLOPS:
        return [Finding("machine", Severity.GOOD, saw, "arithmetic is as fast as expected")]
    if sys.platform != "linux":
        return [
            Finding(
                "machine",
                Severity.NOTE,
                saw,
                "MLX runs on the CPU here, not on Metal",
                "run on Apple silicon with macOS 14 or later, outside a virtual machine",
            )
        ]
    found = next((path for path in OPENBLAS if Path(path).is_file()), None)
    install = "" if found else "sudo apt-get install libopenblas0-pthread && "
    return [
        Finding(
            "machine",
            Severity.NOTE,
            f"{saw}: a reference BLAS",
            "MLX's Linux wheel ships one; OpenBLAS makes float32 about 30 times faster",
            f"{install}export LD_PRELOAD={found or OPENBLAS[0]}",
        )
    ]


def _working_set(probe: dict[str, object]) -> list[Finding]:
    size = probe["working_set_bytes"]
    if not isinstance(size, int) or "gpu" not in str(probe["device"]):
        return []
    ram = environment.memory_bytes()
    return [
        Finding(
            "machine",
            Severity.GOOD,
            f"the GPU's recommended working set is {size / 1e9:.1f} GB of {ram / 1e9:.1f} GB RAM",
            "a budget above it makes the system swap, whatever the RAM",
        )
    ]


def _swap() -> list[Finding]:
    import psutil  # noqa: PLC0415  (10 ms that other commands need not pay)

    swap, free = psutil.swap_memory(), psutil.virtual_memory().available
    saw = f"{free / 1e9:.1f} GB of memory available, {swap.used / 1e9:.1f} GB swapped out"
    cores = f"{os.cpu_count()} cores"
    if swap.total and swap.used > swap.total // 2:
        return [
            Finding(
                "machine",
                Severity.NOTE,
                f"{saw}, {cores}",
                "a machine that already swaps trains many times slower",
                "close other programs, or restart before training",
            )
        ]
    return [Finding("machine", Severity.GOOD, f"{saw}, {cores}", "the machine is not swapping")]
