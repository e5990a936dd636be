"""What macOS says of memory, power and temperature: its commands, and parsers of their output.

A parser raises where a line that it needs is missing; no value is ever assumed.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import child_environment, run_child
from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.text import one_line, printable
from mlx_preflight.training.power_supply import PowerSupply

VM_STAT = ("/usr/bin/vm_stat",)
SWAP_USAGE = ("/usr/sbin/sysctl", "-n", "vm.swapusage")
WIRED_LIMIT = ("/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb")
BATTERY = ("/usr/bin/pmset", "-g", "batt")
POWER_SETTINGS = ("/usr/bin/pmset", "-g")
THERMAL = ("/usr/bin/pmset", "-g", "therm")

TIMEOUT_S = 10.0

LOW_POWER = 1
"""Value of `powermode` that is the low power mode; 0 is automatic, 2 high power."""

UNKNOWN_LEVEL = 255
"""`kIOPMThermalLevelUnknown` of IOKit/pwr_mgt/IOPM.h."""

FULL_SPEED = 100
"""Percent of a CPU limit that is none."""

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def is_running() -> bool:
    """Return whether this machine runs macOS."""
    # Not `sys.platform`: mypy takes the branches of other systems for dead code.
    return platform.system() == "Darwin"


def ask(command: Sequence[str]) -> str:
    """Return what a command prints on both streams, in plain English.

    Raises:
        ChildError: It cannot be started, or ran past its time.
    """
    plain = {**child_environment(), "LC_ALL": "C"}
    done = run_child(command, cwd=Path("/"), timeout_s=TIMEOUT_S, env=plain)
    return done.stdout + done.stderr


def unreadable(command: Sequence[str], text: str, expected: str) -> BlockedError:
    """Return the error of an output that does not say what is needed."""
    name = " ".join((Path(command[0]).name, *command[1:]))
    seen = printable(one_line(text, 60))
    return BlockedError(
        f"`{name}` does not say {expected}: {seen}", hint=f"report this with the output of `{name}`"
    )


@dataclass(frozen=True, slots=True)
class VirtualMemory:
    """Pages of `vm_stat`, in bytes.

    Attributes:
        free_bytes: Free, speculative ones excluded.
        file_backed_bytes: Cached files, speculative ones included.
        purgeable_bytes: What its owner lets the system discard.
        wired_bytes: What can neither be compressed nor swapped; Metal's buffers are in it.
        swapped_out_bytes: Written to swap since the start of the system.
    """

    free_bytes: int
    file_backed_bytes: int
    purgeable_bytes: int
    wired_bytes: int
    swapped_out_bytes: int

    @property
    def available_bytes(self) -> int:
        """Return what can be had without compressing or swapping anything.

        Activity Monitor's free and cached. Inactive pages, which psutil counts, are in part
        anonymous: they must be compressed first. File-backed and anonymous pages together
        are active, inactive and speculative ones (checked on recorded outputs).
        """
        return self.free_bytes + self.file_backed_bytes + self.purgeable_bytes


def parse_vm_stat(text: str) -> VirtualMemory:
    """Return the pages that `vm_stat` counts.

    Raises:
        BlockedError: The page size or a line is missing.
    """
    size = re.search(r"page size of (\d+) bytes", text)
    if size is None:
        raise unreadable(VM_STAT, text, "how large a page is")
    page = int(size[1])
    names = ("Pages free", "File-backed pages", "Pages purgeable", "Pages wired down", "Swapouts")
    found = []
    for name in names:
        line = re.search(rf"^{name}:\s+(\d+)\.?\s*$", text, re.MULTILINE)
        if line is None:
            raise unreadable(VM_STAT, text, f"'{name}'")
        found.append(int(line[1]) * page)
    return VirtualMemory(*found)


def parse_swap_used(text: str) -> int:
    """Return the bytes in swap that `sysctl vm.swapusage` states.

    Raises:
        BlockedError: It states none.
    """
    found = re.search(r"\bused = (\d+)[.,](\d+)([KMGT])\b", text)
    if found is None:
        raise unreadable(SWAP_USAGE, text, "what is used")
    return round(float(f"{found[1]}.{found[2]}") * _UNITS[found[3]])


def parse_wired_limit(text: str) -> int | None:
    """Return the limit of what Metal may wire, in bytes; None where nobody set one.

    0 is the system's default, and before macOS 14 there is no such setting.

    Raises:
        BlockedError: It is no number.
    """
    if "unknown oid" in text:
        return None
    found = re.fullmatch(r"(?:iogpu\.wired_limit_mb: )?(\d+)", text.strip())
    if found is None:
        raise unreadable(WIRED_LIMIT, text, "a number")
    return int(found[1]) * 2**20 or None


def parse_battery(text: str) -> PowerSupply:
    """Return the power source of `pmset -g batt`.

    Raises:
        BlockedError: The output names none.
    """
    source = re.search(r"Now drawing from '(AC|Battery|UPS) Power'", text)
    if source is None:
        raise unreadable(BATTERY, text, "what the machine draws from")
    percent = re.search(r"InternalBattery.*?\b(\d{1,3})%", text)
    return PowerSupply(source[1] == "AC", int(percent[1]) if percent else None)


@dataclass(frozen=True, slots=True)
class PowerSettings:
    """Settings in use of `pmset -g`.

    Attributes:
        sleep_min: Idle minutes before the system sleeps; 0 is never.
        low_power: Whether the low power mode is on; None where this Mac has none.
    """

    sleep_min: int
    low_power: bool | None


def parse_power_settings(text: str) -> PowerSettings:
    """Return the settings in use.

    Raises:
        BlockedError: The section or its line on sleep is missing.
    """
    _, section, lines = text.partition("Currently in use:")
    values = {
        found[1]: int(found[2])
        for found in re.finditer(r"^\s*(\w[\w ]*?)\s+(\d+)(?:\s+\(.*\))?\s*$", lines, re.MULTILINE)
    }
    if not section or "sleep" not in values:
        raise unreadable(POWER_SETTINGS, text, "when the system sleeps")
    disabled = re.search(r"SleepDisabled\s+1\b", text)
    low = None
    if "lowpowermode" in values:
        low = values["lowpowermode"] == LOW_POWER
    elif "powermode" in values:
        low = values["powermode"] == LOW_POWER
    return PowerSettings(0 if disabled else values["sleep"], low)


def parse_thermal(text: str) -> str:
    """Return what slows the machine down for its temperature; empty when nothing does.

    Raises:
        BlockedError: Neither a level nor a limit is named, nor that there is none.
    """
    none = re.findall(r"No (?:thermal|performance) warning level has been recorded", text)
    levels = re.findall(r"(?i)\b(thermal|performance) warning level\s*[=:]\s*(\d+)", text)
    limits = re.findall(r"CPU_(Speed|Scheduler)_Limit\s*=\s*(\d+)", text)
    unknown = any(int(level) == UNKNOWN_LEVEL for _, level in levels)
    if unknown or not (none or levels or limits):
        raise unreadable(THERMAL, text, "how warm the machine is")
    slow = [f"{kind.lower()} warning level {level}" for kind, level in levels if int(level)]
    limited = ((kind.lower(), int(limit)) for kind, limit in limits)
    slow += [f"CPU {kind} limit {limit} %" for kind, limit in limited if limit < FULL_SPEED]
    return ", ".join(slow)
