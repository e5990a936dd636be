"""Power source, power saving, sleep and temperature of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mlx_preflight.training import linux, macos

WATCHED_S = 0.5
"""Time between two looks at the counters of throttled CPUs."""


@dataclass(frozen=True, slots=True)
class PowerState:
    """Power and temperature.

    Attributes:
        mains: Whether the machine draws from mains.
        percent: Charge of its battery; None without one.
        low_power: Whether a mode that saves power is on; None where there is none.
        sleep_min: Idle minutes before the system sleeps, 0 for never; None where it does not say.
        slowed: What slows it down for its temperature; empty when nothing does, None where
            nothing tells.
    """

    mains: bool
    percent: int | None
    low_power: bool | None
    sleep_min: int | None
    slowed: str | None


def read_power() -> PowerState:
    """Read power and temperature.

    Raises:
        BlockedError: What the system says is not understood.
        ChildError: A command of macOS does not answer.
    """
    if macos.is_running():
        battery = macos.parse_battery(macos.ask(macos.BATTERY))
        settings = macos.parse_power_settings(macos.ask(macos.POWER_SETTINGS))
        slowed: str | None = macos.parse_thermal(macos.ask(macos.THERMAL))
        return PowerState(
            battery.mains, battery.percent, settings.low_power, settings.sleep_min, slowed
        )
    supply, before = linux.power_supply(), linux.throttle_counts()
    slowed = None
    if before is not None:
        time.sleep(WATCHED_S)
        slowed = throttled(before, linux.throttle_counts() or {})
    return PowerState(supply.mains, supply.percent, linux.low_power(), None, slowed)


def throttled(before: dict[str, int], after: dict[str, int]) -> str:
    """Return which CPUs were throttled between two looks; empty for none."""
    hot = [name for name, count in after.items() if count > before.get(name, count)]
    return f"{len(hot)} of {len(after)} CPUs throttled" if hot else ""
