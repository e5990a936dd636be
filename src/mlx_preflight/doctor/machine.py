"""Machine: BLAS on Linux, Metal's working set, swap."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

from mlx_preflight.core import environment
from mlx_preflight.core.errors import ChildError, ChildTimeoutError
from mlx_preflight.core.units import format_bytes
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.runtime import device
from mlx_preflight.runtime.device import DeviceReport

SLOW_GFLOPS = 20.0
"""Float32 matmul below this is a reference BLAS: measured 3-7 with the one that MLX's Linux
wheel ships and 120-230 with OpenBLAS, on two x86-64 cores (mlx-cpu 0.32.4, 2026-11-23)."""

OPENBLAS = (
    "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0",
    "/usr/lib/aarch64-linux-gnu/openblas-pthread/libopenblas.so.0",
)
"""Where Debian and Ubuntu put OpenBLAS (package libopenblas0-pthread)."""


def check(timeout_s: float) -> list[Finding]:
    """Return findings on arithmetic speed, the GPU's working set and swap.

    Args:
        timeout_s: Longest time for the probe, which multiplies two 512x512 matrices.
    """
    try:
        report = device.ask(timeout_s=timeout_s + 8, multiply=True)
    except ChildTimeoutError:
        raise
    except ChildError as error:
        return [
            Finding(
                "machine",
                Severity.PROBLEM,
                f"MLX cannot compute: {error}",
                "nothing can be loaded or trained without a working backend",
                'python3 -m pip install --force-reinstall "mlx[cpu]" (Linux) or mlx (macOS)',
            ),
            *_swap(),
        ]
    return [*_speed(report), *_working_set(report), *_swap()]


def _speed(report: DeviceReport) -> list[Finding]:
    gflops = report.gflops or 0.0
    saw = f"float32 matrix product on {report.name}: {gflops:.0f} GFLOP/s"
    if report.gpu or gflops >= SLOW_GFLOPS:
        return [Finding("machine", Severity.GOOD, saw, "arithmetic is as fast as expected")]
    if sys.platform != "linux":
        why = "MLX runs on the CPU here, not on Metal"
        fix = "run on Apple silicon with macOS 14 or later, outside a virtual machine"
        return [Finding("machine", Severity.NOTE, saw, why, fix)]
    found = next((path for path in OPENBLAS if Path(path).is_file()), None)
    install = "" if found else "sudo apt-get install libopenblas0-pthread && "
    saw = f"{saw}: a reference BLAS"
    why = "MLX's Linux wheel ships one; OpenBLAS makes float32 about 30 times faster"
    fix = f"{install}export LD_PRELOAD={found or OPENBLAS[0]}"
    return [Finding("machine", Severity.NOTE, saw, why, fix)]


def _working_set(report: DeviceReport) -> list[Finding]:
    size = report.working_set_bytes
    if size is None or not report.gpu:
        return []
    ram = environment.memory_bytes()
    saw = f"the GPU's recommended working set is {format_bytes(size)} of {format_bytes(ram)} RAM"
    why = "a budget above it makes the system swap, whatever the RAM"
    return [Finding("machine", Severity.GOOD, saw, why)]


def _swap() -> list[Finding]:
    swap, free = psutil.swap_memory(), psutil.virtual_memory().available
    saw = f"{format_bytes(free)} of memory available, {format_bytes(swap.used)} swapped out"
    cores = f"{os.cpu_count()} cores"
    if swap.total and swap.used > swap.total // 2:
        saw = f"{saw}, {cores}"
        why = "a machine that already swaps trains many times slower"
        fix = "close other programs, or restart before training"
        return [Finding("machine", Severity.NOTE, saw, why, fix)]
    return [Finding("machine", Severity.GOOD, f"{saw}, {cores}", "the machine is not swapping")]
