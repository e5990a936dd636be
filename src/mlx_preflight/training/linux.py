"""What Linux says of memory limits, power and temperature, read from /proc and /sys.

Every function takes the root of the file system, so that recorded trees can be read. A file
that is there but not understood is an error; no value is ever assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.text import one_line, printable
from mlx_preflight.training.power_supply import PowerSupply

ROOT = Path("/")

UNLIMITED_BYTES = 2**62
"""From here on, a limit of cgroup v1 means none: it prints 2^63 less one page."""

LOW_POWER = ("low-power", "quiet", "cool")
"""Profiles of /sys/firmware/acpi/platform_profile that save power."""


def _text(path: Path) -> str:
    """Return a file's text without surrounding blanks.

    Raises:
        BlockedError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BlockedError(f"{path} cannot be read: {error}", hint="make it readable") from error


def _unreadable(path: Path, text: str, expected: str) -> BlockedError:
    seen = printable(one_line(text, 60))
    hint = f"report this with the output of `cat {path}`"
    return BlockedError(f"{path} does not say {expected}: {seen}", hint=hint)


def _number(path: Path) -> int:
    text = _text(path)
    if not (text.isascii() and text.isdigit()):
        raise _unreadable(path, text, "a number")
    return int(text)


@dataclass(frozen=True, slots=True)
class _Names:
    """Files of one version of the memory cgroup."""

    limit: str
    usage: str
    cached: tuple[str, str]


_V1 = _Names(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_V2 = _Names("memory.max", "memory.current", ("inactive_file", "active_file"))


def cgroup_free_bytes(root: Path = ROOT) -> int | None:
    """Return what the memory cgroups of this process leave; None where they limit nothing.

    A group's limit, less what it uses, plus its cached files, which the kernel drops first;
    of this group and all above it the least counts.

    Raises:
        BlockedError: A file of a group cannot be read or understood.
    """
    left = [
        free
        for names, folder in _groups(root)
        if (folder / names.limit).exists() and (free := _left(folder, names)) is not None
    ]
    return min(left, default=None)


def _groups(root: Path) -> Iterator[tuple[_Names, Path]]:
    """Yield the memory groups of this process and those above, as they are mounted here."""
    listed = root / "proc/self/cgroup"
    if not listed.exists():
        return
    mount = root / "sys/fs/cgroup"
    for line in _text(listed).splitlines():
        group = re.fullmatch(r"(\d+):([^:]*):(/.*)", line)
        if group is None:
            raise _unreadable(listed, line, "a group")
        number, controllers, path = group.groups()
        if number == "0" and not controllers:
            names, top = _V2, mount
        elif "memory" in controllers.split(","):
            names, top = _V1, mount / "memory"
        else:
            continue
        # A container may see the host's path and mount only its own group.
        inner = path.strip("/").split("/") if path.strip("/") else []
        for count in range(len(inner), -1, -1):
            yield names, top.joinpath(*inner[:count])


def _left(folder: Path, names: _Names) -> int | None:
    if _text(folder / names.limit) == "max":
        return None
    limit = _number(folder / names.limit)
    if limit >= UNLIMITED_BYTES:
        return None
    text = _text(folder / "memory.stat")
    stat = dict(re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE))
    if missing := [key for key in names.cached if key not in stat]:
        raise _unreadable(folder / "memory.stat", text, missing[0])
    cached = sum(int(stat[key]) for key in names.cached)
    return limit - max(0, _number(folder / names.usage) - cached)


def power_supply(root: Path = ROOT) -> PowerSupply:
    """Return the power source; a machine without a battery draws from mains.

    Raises:
        BlockedError: A supply cannot be read or understood.
    """
    folder = root / "sys/class/power_supply"
    online, batteries = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        # Batteries of mice and headsets have the scope Device.
        if (path / "scope").exists() and _text(path / "scope") == "Device":
            continue
        if _text(path / "type") == "Battery":
            batteries.append(path)
        elif (path / "online").exists():
            online.append(_number(path / "online") > 0)
    if not batteries:
        return PowerSupply(mains=True, percent=None)
    states = [_text(path / "status") for path in batteries]
    known = ("Charging", "Discharging", "Full", "Not charging")
    for path, state in zip(batteries, states, strict=True):
        if state not in known and not any(online):
            raise _unreadable(path / "status", state, "whether it is charging")
    charge = [path / "capacity" for path in batteries if (path / "capacity").exists()]
    percent = min((_number(path) for path in charge), default=None)
    return PowerSupply(any(online) or "Discharging" not in states, percent)


def low_power(root: Path = ROOT) -> bool | None:
    """Return whether a profile that saves power is chosen; None where there are no profiles."""
    path = root / "sys/firmware/acpi/platform_profile"
    return _text(path) in LOW_POWER if path.exists() else None


def throttle_counts(root: Path = ROOT) -> dict[str, int] | None:
    """Return how often each CPU was throttled; None where the kernel does not count it.

    Raises:
        BlockedError: A counter is no number.
    """
    cpus = root / "sys/devices/system/cpu"
    found = {
        path.parent.parent.name: _number(path)
        for path in sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    }
    return found or None
