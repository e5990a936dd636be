"""What a run started ends with it, also where the run was killed or its terminal closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlx_preflight.core import parent_watch

CHILD = """
import signal, sys, time
from pathlib import Path
from mlx_preflight.core import parent_watch
parent_watch.interrupt_on(signal.SIGTERM, signal.SIGHUP)
parent_watch.end_with_parent()
Path(sys.argv[1]).write_text("ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    Path(sys.argv[1]).write_text("interrupted")
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True).wait()
"""


def until(path: Path, text: str) -> bool:
    """Wait for a file's content."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and path.read_text() == text:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("bound", [True, False])
def test_a_child_of_a_run_ends_after_its_killed_parent(tmp_path: Path, *, bound: bool) -> None:
    """It is interrupted as from a terminal; a process that nobody bound lives on."""
    said = tmp_path / "said"
    env = {**os.environ, parent_watch.BOUND: "1" if bound else ""}
    command = [sys.executable, "-c", PARENT, CHILD, str(said)]
    with subprocess.Popen(command, env=env) as parent:
        assert until(said, "ready")
        (child,) = psutil.Process(parent.pid).children()
        parent.kill()
    if bound:
        assert until(said, "interrupted")
    else:
        time.sleep(3 * parent_watch.POLL_S)
        assert said.read_text() == "ready"
        child.send_signal(signal.SIGHUP)
        assert until(said, "interrupted")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """Under nohup a closed terminal ends nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        parent_watch.interrupt_on(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_last_of_a_run_binds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check ends its own children; what they start is theirs."""
    monkeypatch.delenv(parent_watch.BOUND, raising=False)
    parent_watch.end_with_parent(last=True)
    monkeypatch.setenv(parent_watch.BOUND, "1")
    parent_watch.end_with_parent(last=True)
    assert parent_watch.BOUND not in os.environ
