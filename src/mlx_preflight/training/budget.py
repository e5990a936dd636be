"""Memory budget of a training run: the least of what was asked, recommended, and free now.

What cannot be read raises: a default would be a promise about a machine nobody looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from mlx_preflight.core import environment
from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.units import GIGA, format_bytes
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import device
from mlx_preflight.runtime.device import DeviceReport
from mlx_preflight.training import linux, macos

MARGIN_BYTES = GIGA
"""Kept free beside MLX's peak: for what the trainer's process holds outside of MLX (0.06 GB
after mlx_lm's imports and a load, Linux, mlx-lm 0.32.2, 2026-11-28; the rows come on top) and
for what other programs take during the run."""

PROBE_TIMEOUT_S = 60.0

ASKED, DEVICE, FREE = "what was asked", "what the device recommends", "what is free now"


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory budget of a training run.

    Attributes:
        asked_bytes: What was asked; None where nobody asked.
        device_bytes: What the device recommends at most.
        device: Where that comes from, in words.
        free_bytes: What is free now.
        margin_bytes: What of it stays free.
    """

    asked_bytes: int | None
    device_bytes: int
    device: str
    free_bytes: int
    margin_bytes: int = MARGIN_BYTES

    @property
    def limits(self) -> dict[str, int]:
        """Return the three limits by name; what nobody asked is not among them."""
        asked = {} if self.asked_bytes is None else {ASKED: self.asked_bytes}
        return {**asked, DEVICE: self.device_bytes, FREE: self.free_bytes - self.margin_bytes}

    @property
    def budget_bytes(self) -> int:
        """Return the least limit; 0 or less where less is free than the margin."""
        return min(self.limits.values())

    @property
    def decided_by(self) -> str:
        """Return the name of the least limit."""
        return min(self.limits, key=self.limits.__getitem__)

    def describe(self) -> str:
        """Return all three limits in one line."""
        asked = "nothing was asked" if self.asked_bytes is None else format_bytes(self.asked_bytes)
        return (
            f"asked: {asked}; recommended: {format_bytes(self.device_bytes)} ({self.device}); "
            f"free now: {format_bytes(self.free_bytes)} less {format_bytes(self.margin_bytes)}"
        )


def read_budget(context: Context) -> Budget:
    """Read the memory budget of the context's training run.

    Raises:
        BlockedError: Something that it depends on cannot be read.
        ChildError: MLX does not answer.
    """
    report = device.ask(timeout_s=PROBE_TIMEOUT_S)
    recommended, origin = device_bytes(report)
    asked = None if context.training is None else context.training.budget_bytes
    return Budget(asked, recommended, origin, free_bytes(report))


def device_bytes(report: DeviceReport) -> tuple[int, str]:
    """Return what a device recommends at most, and where that comes from.

    Raises:
        BlockedError: It recommends nothing, or the limit that is set cannot be read.
    """
    if not report.gpu:
        return environment.memory_bytes(), "physical memory, on the CPU"
    if report.working_set_bytes:
        limit = _wired_limit()
        if limit is not None and limit < report.working_set_bytes:
            return limit, "iogpu.wired_limit_mb"
        return report.working_set_bytes, "Metal's working set"
    if report.total_bytes:
        return report.total_bytes, "memory of the GPU"
    raise BlockedError(
        f"MLX names no recommended working set of {report.name}",
        hint="upgrade mlx, or judge the run where its device says what it holds",
    )


def _wired_limit() -> int | None:
    if macos.is_running():
        return macos.parse_wired_limit(macos.ask(macos.WIRED_LIMIT))
    return None


def free_bytes(report: DeviceReport) -> int:
    """Return the memory that is free now where the device computes.

    Raises:
        BlockedError: It cannot be read.
    """
    if report.gpu and report.free_bytes is not None:
        return report.free_bytes
    return host_free_bytes()


def host_free_bytes() -> int:
    """Return the memory of the system that is free now, within what its groups may take.

    Raises:
        BlockedError: It cannot be read.
    """
    if macos.is_running():
        return macos.parse_vm_stat(macos.ask(macos.VM_STAT)).available_bytes
    available = psutil.virtual_memory().available
    group = linux.cgroup_free_bytes()
    return available if group is None else min(available, group)
