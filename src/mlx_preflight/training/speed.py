"""Speed of this machine at what a training step is made of, measured in seconds."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_preflight.core import child
from mlx_preflight.memory.replay.costs import Costs

PROBE_S = 0.02
"""Seconds that one figure of a probe may take."""

TIMEOUT_S = 300.0

ERROR = 0.5
"""Share by which a time from such figures may be off: a factor of 1.5, up and down."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates of one machine.

    Attributes:
        products: `dtype/bits` (0 bits is unquantized) → tokens → operations per second.
        bytes_s: Bytes that elementwise primitives read and write in a second.
        kernel_s: Seconds that starting a primitive costs.
        factor: Real steps take so many times what the rates say.
    """

    products: Mapping[str, Mapping[str, float]]
    bytes_s: float
    kernel_s: float
    factor: float = 1.0

    def seconds(self, costs: Costs, dtype: str, bits: int | None) -> float:
        """Return the seconds of a step.

        Raises:
            KeyError: Products of this kind were not measured.
        """
        return self.factor * sum(self.parts(costs, dtype, bits))

    def parts(self, costs: Costs, dtype: str, bits: int | None) -> tuple[float, float, float]:
        """Return what the rates say of a step's products, copies and calls, in seconds each.

        Raises:
            KeyError: Products of this kind were not measured.
        """
        plain = self._rate(f"{dtype}/0", costs.tokens)
        quantized = self._rate(f"{dtype}/{bits}", costs.tokens) if bits else plain
        return (
            (costs.flops["plain"] + costs.attention_flops) / plain
            + costs.flops["quantized"] / quantized,
            (costs.moved_bytes + costs.attention_bytes) / self.bytes_s,
            costs.kernels * self.kernel_s,
        )

    def _rate(self, kind: str, tokens: int) -> float:
        found = sorted((int(count), rate) for count, rate in self.products[kind].items())
        x, y = zip(*((math.log(count), math.log(rate)) for count, rate in found), strict=True)
        return float(np.exp(np.interp(math.log(max(tokens, 1)), x, y)))


@functools.cache
def measure(
    backend: str,
    kinds: tuple[tuple[str, int | None], ...],
    *,
    group_size: int = 64,
    seconds: float = PROBE_S,
) -> Speed:
    """Measure the rates of this machine in a fresh child, once in a process.

    Args:
        backend: metal, cpu or cuda.
        kinds: Types and bits of the products.
        group_size: Weights that share a scale.
        seconds: That each figure may take.

    Raises:
        ChildError: The child failed; the message has the cause.
    """
    job = {"backend": backend, "kinds": list(kinds), "group_size": group_size, "seconds": seconds}
    found: Any = child.call(
        "mlx_preflight.runtime.speed_child",
        job,
        timeout_s=TIMEOUT_S,
        label="measuring this machine's speed",
    ).value
    return Speed(found["products"], found["bytes_s"], found["kernel_s"])
