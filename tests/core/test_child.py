"""Child processes: they cannot hang the parent, outlive it, or see its secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_preflight.core import child
from mlx_preflight.core.child import Reply, call, run_child
from mlx_preflight.core.child_run import ChildRun, log_tail
from mlx_preflight.core.errors import ChildCrashError, ChildError, ChildTimeoutError, WorkerError

FAMILY = """
sleep 120 &
echo $$ $! > "$0.new"
mv "$0.new" "$0"
[ "$1" = end ] || wait
"""
"""Shell script that starts a sleeping child, and writes both process ids to the file `$0`."""

PARENT = """
import sys
from pathlib import Path
from mlx_preflight.core.child import run_child, side_by_side
def run():
    run_child(["sh", "-c", sys.argv[1], sys.argv[2], "wait"], cwd=Path(), timeout_s=100)
try:
    if sys.argv[3] == "main":
        run()
    with side_by_side(1) as pool:
        pool.submit(run).result()
except KeyboardInterrupt:
    sys.exit(130)
"""


def python(code: str, *arguments: str, timeout_s: float = 60) -> ChildRun:
    return run_child([sys.executable, "-c", code, *arguments], cwd=Path(), timeout_s=timeout_s)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(path: Path) -> bool:
    """Wait until both processes that a family wrote down are gone."""
    pids = [int(word) for word in path.read_text(encoding="utf-8").split()]
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return len(pids) == 2


def test_a_child_answers() -> None:
    """Exit code, both streams and the time come back; a failure is no exception."""
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert 0 < done.duration_s < 60
    assert not done.truncated
    assert done.signal_reason() == ""


def test_two_full_pipes_do_not_hang() -> None:
    """A megabyte on each stream at once arrives whole."""
    done = python(
        "import sys\n"
        "for _ in range(1000):\n"
        "    sys.stderr.write('e' * 1000)\n"
        "    sys.stdout.write('o' * 1000)\n",
        timeout_s=30,
    )
    assert (len(done.stdout), len(done.stderr)) == (1_000_000, 1_000_000)


def test_endless_output_is_cut_and_says_so() -> None:
    """Of a flood the end is kept, and the parent's memory is not."""
    amount = 3 * child.KEPT_BYTES
    done = python(f"print('a' * {amount}, 'END')", timeout_s=60)
    assert done.truncated
    assert len(done.stdout) == child.KEPT_BYTES
    assert done.stdout.endswith("END\n")


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    """Foreign bytes are shown as such and raise nothing."""
    assert python(r"import os; os.write(1, b'\xff\xfe')").stdout == "\ufffd\ufffd"


@pytest.mark.slow
def test_a_timeout_kills_the_family(tmp_path: Path) -> None:
    """After its time a child dies with everything that it started."""
    marker = tmp_path / "pids"
    started = time.monotonic()
    with pytest.raises(ChildError, match=r"sh did not end within 1\.5 s and was killed") as caught:
        run_child(["sh", "-c", FAMILY, str(marker), "wait"], cwd=Path(), timeout_s=1.5)
    assert time.monotonic() - started < 20
    assert "timeout-s" in caught.value.hint
    assert gone(marker)


def test_what_a_finished_child_left_behind_is_killed(tmp_path: Path) -> None:
    """A grandchild that holds the pipes neither delays the answer nor stays."""
    marker = tmp_path / "pids"
    done = run_child(["sh", "-c", FAMILY, str(marker), "end"], cwd=Path(), timeout_s=60)
    assert done.returncode == 0
    assert done.duration_s < 10
    assert gone(marker)


def test_a_signal_while_a_child_starts_waits_until_it_can_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C that comes with the start of a child ends the child, too."""
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        """A start during which the signal arrives."""

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_child(["sleep", "60"], cwd=tmp_path, timeout_s=60)
    assert [process.poll() for process in started] == [-signal.SIGKILL]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.parametrize("thread", ["main", "another"])
def test_ctrl_c_kills_the_family(tmp_path: Path, thread: str) -> None:
    """SIGINT to the parent alone ends child and grandchild, whichever thread started them."""
    marker = tmp_path / "pids"
    command = [sys.executable, "-c", PARENT, FAMILY, str(marker), thread]
    with subprocess.Popen(command) as parent:
        deadline = time.monotonic() + 30
        while not marker.exists():
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=20) == 130
    assert gone(marker)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGTERM, "killed by SIGTERM"),
        (signal.SIGKILL, "killed by SIGKILL: the system ran out of memory, or somebody killed it"),
    ],
)
def test_death_by_a_signal_is_named(number: int, said: str) -> None:
    """A crash says which signal it was, and what SIGKILL usually means."""
    assert python(f"import os; os.kill(os.getpid(), {int(number)})").signal_reason() == said


def test_death_by_a_nameless_signal_is_numbered() -> None:
    """Real-time signals have no name and raise nothing."""
    assert ChildRun((), -40, "", "", 0.0, truncated=False).signal_reason() == "killed by signal 40"


@pytest.mark.parametrize("cwd", [Path(), Path("/no/such/folder")])
def test_a_program_that_cannot_start_is_an_error(cwd: Path) -> None:
    """A missing program or folder is an error that names it."""
    with pytest.raises(ChildError, match="cannot start /no/such/program"):
        run_child(["/no/such/program"], cwd=cwd, timeout_s=5)


def test_secrets_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables named like secrets are missing in the child, all others are there."""
    secret = ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "OPENAI_API_KEY"]
    secret += ["PGPASSWORD", "MYSQL_PASSWD", "SSH_PRIVATE_KEY", "GOOGLE_APPLICATION_CREDENTIALS"]
    harmless = ["TOKENIZERS_PARALLELISM", "HF_ENDPOINT", "KEYBOARD"]
    for name in (*secret, *harmless):
        monkeypatch.setenv(name, "hush")
    seen = json.loads(python("import json, os; print(json.dumps(dict(os.environ)))").stdout)
    assert [name for name in secret if name in seen] == []
    assert all(seen[name] == "hush" for name in harmless)
    assert "PATH" in seen
    assert child.child_environment({"HF_TOKEN": "given"}).get("HF_TOKEN", "") == "given"


def test_an_own_environment_is_taken_whole() -> None:
    """With `env` the child sees nothing else of the parent."""
    code = "import os; print(os.environ.get('ONLY'), 'PWD' in os.environ, 'HOME' in os.environ)"
    done = run_child([sys.executable, "-c", code], cwd=Path(), timeout_s=30, env={"ONLY": "me"})
    assert done.stdout == "me False False\n"


def test_limits_are_set_in_the_child_alone() -> None:
    """What `preexec` does happens after the fork."""
    code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    before = os.getpriority(os.PRIO_PROCESS, 0)
    done = run_child([sys.executable, "-c", code], cwd=Path(), timeout_s=30, preexec=_lower)
    assert int(done.stdout) == min(before + 3, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def _lower() -> None:
    os.nice(3)


def test_the_tail_is_short_and_redacted() -> None:
    """The tail is of stderr, or of stdout when that is empty, without secrets."""
    lines = "\n".join(f"line {n} hf_abcdefghijkl" for n in range(30))
    done = ChildRun((), 1, "only out", lines, 0.0, truncated=False)
    assert done.tail(2) == "line 28 ***\nline 29 ***"
    assert ChildRun((), 1, "only out\n", " \n", 0.0, truncated=False).tail() == "only out"


def test_the_last_lines_hold_no_colours() -> None:
    """A reason is one line for a file and a terminal alike."""
    assert log_tail("", "\x1b[34m│\x1b[0m   \x1b[1m128\x1b[0m\n\x1b[?25l\n") == "│   128"


def called(folder: Path, task: str, *, timeout_s: float = 60) -> Reply:
    """Call a module whose task is some code; the job is `{"number": 20}`."""
    (folder / "thing.py").write_text(
        "import atexit, os, signal, sys, time\n"
        "from mlx_preflight.core.child_main import run_job\n"
        f"def task(job):\n    {task}\n"
        "sys.exit(run_job(task, sys.argv[1:]))\n"
    )
    return call("thing", {"number": 20}, timeout_s=timeout_s, label="thing", folder=folder)


def test_a_call_returns_what_the_task_returned(tmp_path: Path) -> None:
    """JSON in, JSON out, and the time that the process took."""
    reply = called(tmp_path, "return [job['number'] + 1, None]")
    assert reply.value == [21, None]
    assert 0 < reply.duration_s < 60


@pytest.mark.parametrize(
    ("task", "cause"),
    [
        ("raise ValueError('no such layer')", "thing: ValueError: no such layer"),
        ("return float('nan')", "thing: ResultError: answer.json: cannot be written as JSON"),
        ("raise RuntimeError('std::bad_alloc')", "thing: out of memory: std::bad_alloc"),
    ],
)
def test_an_exception_of_the_task_reaches_the_caller(tmp_path: Path, task: str, cause: str) -> None:
    """Its kind and its message, and the traceback as the log; an answer must be JSON."""
    with pytest.raises(WorkerError) as caught:
        called(tmp_path, task)
    assert str(caught.value).startswith(cause)
    assert "Traceback" in caught.value.log


@pytest.mark.parametrize(
    ("task", "cause"),
    [
        ("os._exit(0)", "thing: exit code 0 and no answer: no output"),
        ("sys.exit('gone')", "thing: exit code 1 and no answer: gone"),
        ("atexit.register(os._exit, 5)", "thing: exit code 5 and no answer: no output"),
        ("os.kill(os.getpid(), 9)", "thing: killed by SIGKILL: the system ran out of memory"),
        ("atexit.register(os.kill, os.getpid(), 6)", "thing: killed by SIGABRT"),
        ("print('{}', file=open(sys.argv[2], 'w')) or os._exit(0)", "thing: exit code 0 and no"),
    ],
)
def test_only_an_answer_at_the_end_is_a_success(tmp_path: Path, task: str, cause: str) -> None:
    """Neither an exit code of 0, nor an answer of a child that failed after it, nor an old one."""
    (tmp_path / "answer.json").write_text('{"ok": true, "value": 1}')
    with pytest.raises(ChildError) as caught:
        called(tmp_path, task)
    assert str(caught.value).startswith(cause)
    assert not isinstance(caught.value, WorkerError)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("", "thing: killed by SIGABRT"),
        ("  what():  no kernel", "thing: killed by SIGABRT: what():  no kernel"),
        ("what(): Insufficient Memory", "thing: out of memory: killed by SIGABRT: what():"),
    ],
)
def test_a_crash_is_told_from_a_kill(tmp_path: Path, said: str, cause: str) -> None:
    """With the line that says why; an abort for want of memory is no fault of the versions."""
    with pytest.raises(ChildCrashError) as caught:
        called(tmp_path, f"print({said!r}, file=sys.stderr, flush=True) or os.abort()")
    assert str(caught.value).startswith(cause)
    assert bool(caught.value.hint) is ("memory" in cause)


@pytest.mark.slow
def test_a_call_past_its_time_is_killed(tmp_path: Path) -> None:
    """Nothing waits for a child longer than asked."""
    with pytest.raises(ChildError, match="did not end within 1 s and was killed"):
        called(tmp_path, "time.sleep(60)", timeout_s=1)


STARTS_ONE = """
import os, signal, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
def end(*_):
    child.kill()
    child.wait()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


@pytest.mark.slow
def test_a_child_is_given_time_to_end_its_own_children(tmp_path: Path) -> None:
    """One that starts sessions of their own, as nox does, ends them itself before it is killed."""
    told = tmp_path / "pid"
    with pytest.raises(ChildTimeoutError):
        run_child(
            [sys.executable, "-c", STARTS_ONE, str(told)],
            cwd=tmp_path,
            timeout_s=5.0,
            grace_s=20.0,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
