"""The memory of a process and its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from mlx_preflight.frameworks import footprint

GROW = (
    "import time; kept = bytearray(b'x' * 60_000_000); print('ready', flush=True); time.sleep(30)"
)
NEST = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GROW!r}])"


def test_a_grandchild_counts() -> None:
    """60 MB in a child of a child are in the sum."""
    command = [sys.executable, "-c", NEST]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            assert footprint.tree_bytes(child.pid) > 60_000_000
            sampler = footprint.MemorySampler()
            sampler.begin(child.pid)
            time.sleep(0.05)
            assert sampler.end() > 60_000_000
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_a_process_that_is_gone_has_nothing() -> None:
    """No error, no memory."""
    assert footprint.tree_bytes(2**22 + 7) == 0


def test_the_listing_of_ps_is_summed_over_the_tree() -> None:
    """What macOS prints: kilobytes of a process, its child and its grandchild, no stranger."""
    listing = "  1     0  500\n 10     1  100\n 11    10   20\n 12    11    3\n 99     1 9999\n"
    assert footprint.sum_tree(listing, 10) == 123 * 1024


def test_ps_knows_this_process() -> None:
    """The command that macOS has works here, too, and agrees within a factor of two."""
    by_ps = footprint.ps_bytes(os.getpid())
    assert 0.5 < by_ps / footprint.tree_bytes(os.getpid()) < 2
