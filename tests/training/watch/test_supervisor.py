"""A run under watch, in this process: trouble of the watch, and runs that do not want to end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from mlx_preflight.training.watch.closing import lines, resume_command
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.notices import Notices
from mlx_preflight.training.watch.process_tree import ProcessTree
from mlx_preflight.training.watch.saves import Adapter
from mlx_preflight.training.watch.stopping import Stopping
from mlx_preflight.training.watch.supervisor import CommandError, Supervisor

STUBBORN = """
import signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
kept = [b"1" * 60_000_000]
time.sleep(30)
"""


def supervisor(limit: int | None = None) -> Supervisor:
    """Return the watch of a run of which nothing is known."""
    return Supervisor(Forecast(), Notices(), limit)


def test_trouble_of_the_watch_is_no_trouble_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its output is complete, its exit code is its own, and the failure is said once."""

    def fail(_now_s: float) -> NoReturn:
        raise RuntimeError("a bug")

    watch = supervisor()
    monkeypatch.setattr(watch._observer, "_look_at_system", fail)
    ending = watch.run(["sh", "-c", "printf one; sleep 0.8; printf two; exit 3"])
    out, err = capfd.readouterr()
    assert (ending.code, out) == (3, "onetwo")
    assert err.count("the watch itself failed (RuntimeError: a bug)") == 1


def test_handlers_are_those_from_before(capfd: pytest.CaptureFixture[str]) -> None:
    """After the run as after one that could not start."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert supervisor().run(["true"]).finished
    with pytest.raises(CommandError):
        supervisor().run(["no-such-command"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_run_that_ignores_every_request_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    """SIGKILL is the last of three."""
    ending = supervisor(50_000_000).run([sys.executable, "-c", STUBBORN])
    assert ending.code == 128 + signal.SIGKILL
    assert ending.signals == ("SIGINT", "SIGTERM", "SIGKILL")
    assert "its processes held" in next(lines(["x"], ending))
    assert "stopping the run" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_started_with_sigint_ignored_gets_sigterm(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in the background of a script: no time is lost on a signal that nobody hears."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    code = STUBBORN.replace("signal.SIGTERM", "")
    ending = supervisor(50_000_000).run([sys.executable, "-c", code])
    assert ending.code == 128 + signal.SIGTERM
    assert ending.signals == ("SIGINT", "SIGTERM")
    assert capfd.readouterr().out == ""


def test_the_limit_shortens_the_patience_once() -> None:
    """A run that takes more after SIGINT has a second, and not another one."""

    class Tree(ProcessTree):
        def __init__(self) -> None:
            self.sent: list[str] = []

        def interrupt(self) -> None:
            self.sent.append("SIGINT")

        def signal(self, number: int) -> None:
            self.sent.append(signal.Signals(number).name)

        def kill(self) -> None:
            self.sent.append("SIGKILL")

    tree = Tree()
    stopping = Stopping(tree)
    stopping.begin("it grows", 0.0, hurry=False)
    for tenth in range(1, 11):
        stopping.hurry(tenth / 10)
        stopping.tick(tenth / 10)
    assert tree.sent == ["SIGINT"]
    stopping.tick(1.1)
    assert tree.sent == ["SIGINT", "SIGTERM"]
    stopping.tick(2.1)
    assert tree.sent == stopping.sent == ["SIGINT", "SIGTERM", "SIGKILL"]


def test_the_last_options_are_those_of_the_resume(tmp_path: Path) -> None:
    """A command with spaces stays one that can be typed; a finished run has none."""
    words = ["nice", "mlx_lm.lora", "--data", "my data", "--iters", "100"]
    known, adapter = Forecast(iters=100), Adapter(tmp_path / "a.safetensors", 40, 1)
    command = resume_command(words, known, adapter)
    assert command.startswith("nice mlx_lm.lora --data 'my data' --iters 100 ")
    assert command.endswith(f"--resume-adapter-file {adapter.path} --iters 60")
    assert resume_command(words, Forecast(iters=40), adapter) == ""
    assert resume_command(["python", "own.py"], known, adapter) == ""
