"""Power source of a machine, whatever the system that names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerSupply:
    """Power source.

    Attributes:
        mains: Whether the machine draws from mains.
        percent: Charge of its battery; None without one.
    """

    mains: bool
    percent: int | None
