"""MLX's default device, asked in a child, for a parent that never imports mlx itself."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_preflight.core import child


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """MLX's default device.

    Attributes:
        name: As MLX prints it.
        gpu: Whether it is a GPU.
        working_set_bytes: Metal's recommended working set; None where MLX names none.
        total_bytes: Memory of a GPU that has its own; None elsewhere.
        free_bytes: What of it is free now; None elsewhere.
        gflops: Speed of a float32 matrix product; None where it was not timed.
    """

    name: str
    gpu: bool
    working_set_bytes: int | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None
    gflops: float | None = None


def ask(*, timeout_s: float, multiply: bool = False) -> DeviceReport:
    """Ask MLX about its default device in a child.

    Args:
        timeout_s: Seconds after which the child is killed.
        multiply: Whether a matrix product is timed.

    Raises:
        ChildError: MLX cannot be imported, or aborted.
    """
    job = {"multiply": multiply}
    answer = child.call("mlx_preflight.runtime.device_child", job, timeout_s=timeout_s).value
    return DeviceReport(**answer)
