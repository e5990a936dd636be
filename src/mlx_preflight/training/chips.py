"""Speed of Apple's chips, where nothing was measured on the machine itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_preflight.memory.replay.costs import Costs


@dataclass(frozen=True, slots=True)
class Chip:
    """A GPU.

    Attributes:
        flops: Float32 operations per second.
        bytes_s: Memory bandwidth.
        share: Share of `flops` that a step reaches on long rows.
    """

    flops: float
    bytes_s: float
    share: float


NO_BFLOAT16, BFLOAT16 = 0.44, 0.80
"""Shares of a step on rows of 190 tokens and more: 36 to 49 % on M1, whose GPU has no bfloat16,
62 to 81 % on M3, M4 and M5 (published runs of mlx_lm.lora, 4 bits and bfloat16, 2024 to 2026).
M2 has bfloat16 and is taken as M3."""

CHIPS = {
    "M1": Chip(2.6e12, 68e9, NO_BFLOAT16),
    "M1 Pro": Chip(5.2e12, 200e9, NO_BFLOAT16),
    "M1 Max": Chip(10.4e12, 400e9, NO_BFLOAT16),
    "M2": Chip(3.6e12, 100e9, BFLOAT16),
    "M2 Ultra": Chip(27.2e12, 800e9, BFLOAT16),
    "M3 Pro": Chip(6.4e12, 150e9, BFLOAT16),
    "M3 Max": Chip(14.3e12, 400e9, BFLOAT16),
    "M3 Ultra": Chip(21.5e12, 819e9, BFLOAT16),
    "M4": Chip(3.6e12, 120e9, BFLOAT16),
    "M4 Pro": Chip(9.2e12, 273e9, BFLOAT16),
    "M4 Max": Chip(18.4e12, 546e9, BFLOAT16),
    "M5": Chip(4.2e12, 153e9, BFLOAT16),
    "A100": Chip(312e12, 1555e9, 0.35),
}
"""Chips with their largest number of GPU cores, from data sheets; the A100's is for bfloat16."""

HALF_TOKENS = 25
"""Tokens of a batch with which half of a chip's speed is reached: below 128 tokens published
runs are two to three times slower than above 190."""

MOVED_SHARE = 0.7
"""Share of the bandwidth that copies and elementwise kernels reach."""

ERROR = 0.6
"""Share by which a time from this table may be off: a factor of 1.6 up, and down."""


def find(processor: str) -> Chip | None:
    """Return the chip of a processor's name, such as `Apple M1 Max`; None for any other.

    `m1 max` is one, and `M1-Max` is none: taken as an M1 it would be four times too slow.
    """
    if re.search(r"\bA100\b", processor, re.IGNORECASE):
        return CHIPS["A100"]
    # A virtual machine says `Apple M1 (Virtual)`.
    found = re.fullmatch(r"(?:apple )?(m\d+(?: \w+)?)(?: \(.*\))?", processor.strip().lower())
    return CHIPS.get(found.group(1).title()) if found else None


def seconds(chip: Chip, costs: Costs) -> float:
    """Return the seconds that a step takes, roughly."""
    flops = costs.all_flops
    busy = chip.share * costs.tokens / (costs.tokens + HALF_TOKENS)
    moved = costs.weight_bytes + costs.moved_bytes + costs.attention_bytes
    return flops / (chip.flops * busy) + moved / (chip.bytes_s * MOVED_SHARE)
