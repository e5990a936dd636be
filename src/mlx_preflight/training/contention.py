"""What else uses the memory: other processes that run MLX, and swapping.

Of a process only its id, name and size leave this module: a command line can hold a secret.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlx_preflight.core.text import one_line
from mlx_preflight.training import macos

LISTED_BYTES = 100_000_000
"""Processes under this size are not looked at."""

WATCHED_S = 1.0
"""Time between the two looks at swap."""

_COMMAND = re.compile(r"(?:^|[\s/._-])mlx(?:[_.-]\w+)?(?=[\s/.]|$)")
"""mlx_lm.lora, `-m mlx_vlm`, mlx.launch, a folder `mlx-examples`: the word, not its letters."""

_LIBRARY = "libmlx"
"""Part of the name of MLX's library in a process's memory map."""


@dataclass(frozen=True, slots=True)
class MlxProcess:
    """Another process that runs MLX."""

    pid: int
    name: str
    held_bytes: int


@dataclass(frozen=True, slots=True)
class SwapUse:
    """Swap at one moment.

    Attributes:
        used_bytes: In swap.
        swapped_out_bytes: Written there since the start of the system.
        wired_bytes: Memory that can be neither compressed nor swapped; None where the system
            does not tell.
    """

    used_bytes: int
    swapped_out_bytes: int
    wired_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Contention:
    """What else uses the memory.

    Attributes:
        processes: Other processes that run MLX, largest first.
        unseen: Processes that this user may not look into.
        before: Swap at first.
        after: Swap `WATCHED_S` later.
    """

    processes: tuple[MlxProcess, ...]
    unseen: int
    before: SwapUse
    after: SwapUse

    @property
    def held_bytes(self) -> int:
        """Return what the processes hold together."""
        return sum(item.held_bytes for item in self.processes)

    @property
    def swapped_out_bytes(self) -> int:
        """Return what was written to swap between the two looks."""
        return self.after.swapped_out_bytes - self.before.swapped_out_bytes


def watch() -> Contention:
    """Look at swap twice, and at all other processes in between.

    Raises:
        BlockedError: The system's output is not understood.
    """
    before, begin = swap_use(), time.perf_counter()
    processes, unseen = mlx_processes()
    time.sleep(max(0.0, WATCHED_S - (time.perf_counter() - begin)))
    return Contention(processes, unseen, before, swap_use())


def swap_use() -> SwapUse:
    """Return the use of swap now.

    Raises:
        BlockedError: The system's output is not understood.
    """
    if macos.is_running():
        pages = macos.parse_vm_stat(macos.ask(macos.VM_STAT))
        used = macos.parse_swap_used(macos.ask(macos.SWAP_USAGE))
        return SwapUse(used, pages.swapped_out_bytes, pages.wired_bytes)
    swap = psutil.swap_memory()
    return SwapUse(swap.used, swap.sout)


def mlx_processes() -> tuple[tuple[MlxProcess, ...], int]:
    """Return the other processes that run MLX, and how many could not be looked into."""
    own = _own()
    found, unseen = [], 0
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            held = process.memory_info().rss
            if held >= LISTED_BYTES and _runs_mlx(process):
                found.append(MlxProcess(process.pid, one_line(process.name(), 40), held))
        except psutil.AccessDenied:
            unseen += 1
        except psutil.Error:
            continue  # it ended meanwhile
    return tuple(sorted(found, key=lambda item: -item.held_bytes)), unseen


def _own() -> set[int]:
    """Return this process, those that started it, and those that it started."""
    own = psutil.Process()
    return {item.pid for item in (own, *own.parents(), *own.children(recursive=True))}


def _runs_mlx(process: psutil.Process) -> bool:
    if any(_COMMAND.search(part) for part in process.cmdline()[:8]):
        return True
    try:
        # Of Linux; macOS shows the map of a foreign process to nobody but root.
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f"/{_LIBRARY}" in maps
