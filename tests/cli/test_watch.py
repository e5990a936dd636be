"""`watch` around real commands: trainings, and programs that do not behave."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from tests.training import rows_of

WATCH = (sys.executable, "-m", "mlx_preflight", "watch")
TRAINER = Path(sys.executable).parent / "mlx_lm.lora"
WRAPPED = Path(__file__).resolve().parents[2] / "benchmarks" / "watch_trainer.py"

COUNTS = """
import signal, sys, time
count = 0
def handle(number, frame):
    global count
    count += 1
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, handle)
print("ready", sys.stdout.isatty(), flush=True)
end = time.monotonic() + 20
while count == 0 and time.monotonic() < end:
    time.sleep(0.02)
time.sleep(1)
print(f"signals {count}", flush=True)
sys.exit(5)
"""


TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
"""Runs a command in the foreground of a terminal of its own."""


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_PREFLIGHT_DATA", str(tmp_path / "user"))


def watch(
    folder: Path, *words: str, stop_at: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command under watch to its end."""
    options = ("--stop-at", stop_at) if stop_at else ()
    return subprocess.run(
        [*WATCH, *options, "--", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **variables},
    )


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs some code."""
    return (sys.executable, "-c", code)


def training(folder: Path, program: str = str(TRAINER), **settings: Any) -> list[str]:
    """Write rows, and return the command of a short training."""
    rows_of.folder(folder / "data", {"train": rows_of.chats(8), "valid": rows_of.chats(4, seed=1)})
    options = {
        "model": EMBEDDED_FOLDER,
        "data": "data",
        "iters": 6,
        "batch_size": 1,
        "num_layers": 1,
        "max_seq_length": 64,
        "save_every": 2,
        "steps_per_report": 2,
        "val_batches": 1,
        "learning_rate": 1e-5,
        **settings,
    }
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    return [program, "--train", *(word for pair in pairs for word in pair)]


def growing(folder: Path) -> str:
    """Return the path of the real trainer that keeps more memory with every step."""
    path = folder / "mlx_lm.lora"
    path.write_text(f"#!{sys.executable}\n{WRAPPED.read_text(encoding='utf-8')}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of the user's data."""
    text = (folder / "user" / "runs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_run_is_left_as_it_is_and_recorded(tmp_path: Path) -> None:
    """Its output reaches stdout, and what was true two files."""
    done = watch(tmp_path, *training(tmp_path), stop_at="90%")
    assert done.returncode == 0, done.stderr
    assert "iter   train_loss" in done.stdout
    assert "watch:" not in done.stdout
    assert "0000006_adapters.safetensors" in done.stdout
    assert "predicted peak" in done.stderr
    assert "exit code 0" in done.stderr
    assert "6 of 6 iterations" in done.stderr
    assert "resume" not in done.stderr
    (found,) = recorded(tmp_path)
    assert (found["true"]["iterations"], found["true"]["finished"]) == (6, True)
    assert found["true"]["process_peak_bytes"] > found["predicted"]["peak_low_bytes"]
    assert found["widths"]["batches"] == 6
    assert found["settings"]["lora_rank"] == 8
    kept = json.dumps(found)
    assert "judged" not in kept  # a word of the rows
    (record,) = MemoryManager.of_project(tmp_path).log.records(MemoryManager(tmp_path).damage)
    assert (record["status"], record["verdict"]) == ("PASS", "finished")
    assert record["measurements"]["watch/iterations"] == 6


@pytest.mark.slow
def test_the_hours_of_the_next_run_rest_on_it(tmp_path: Path) -> None:
    """`qualify` names the run that was watched as its source; a longer row limit is another one."""
    words = training(tmp_path, iters=60, save_every=60, steps_per_report=5)
    assert watch(tmp_path, *words).returncode == 0
    (found,) = recorded(tmp_path)
    assert sum(steps for steps, *_ in found["steps"]["windows"]) > 40
    day = found["started"][:10]

    def hours(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mlx_preflight", "qualify", *words, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return " ".join((done.stdout + done.stderr).split())

    assert f"from your run of {day} (" in hours("--iters", "90")
    wider = hours("--max-seq-length", "128")
    assert "from your run" not in wider
    assert f"your run of {day} is not used: its batches had" in wider


@pytest.mark.slow
def test_a_run_that_grows_is_stopped_and_can_be_resumed(tmp_path: Path) -> None:
    """The command that is printed makes the remaining iterations."""
    words = training(tmp_path, growing(tmp_path), iters=300, save_every=3, steps_per_report=3)
    done = watch(tmp_path, *words, stop_at="0.6", WATCH_LEAK_BYTES="15000000", WATCH_NOTES="notes")
    assert done.returncode == 130, done.stderr
    assert "stopping the run" in done.stderr
    notes = json.loads((tmp_path / "notes").read_text(encoding="utf-8"))
    assert notes["peak_bytes"] <= 600_000_000
    line = next(line for line in done.stderr.splitlines() if "to resume it: " in line)
    command = shlex.split(line.partition("to resume it: ")[2])
    assert 0 < int(command[-1]) < 300
    assert "optimizer" in done.stderr
    command[-1] = "1"
    resumed = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Loading fine-tuned weights from" in resumed.stdout
    assert resumed.returncode == 0, resumed.stderr
    assert recorded(tmp_path)[0]["true"]["stopped"]


@pytest.mark.slow
def test_rows_without_a_trained_token_are_said_before_they_come(tmp_path: Path) -> None:
    """A mask that leaves nothing of a long row."""
    words = training(tmp_path, iters=2)
    long = [rows_of.chat("word " * 200, "answer")] * 4
    rows_of.folder(tmp_path / "data", {"train": long, "valid": long})
    done = watch(tmp_path, *words, "--mask-prompt")
    assert "has no trained token: its loss will be NaN" in done.stderr
    assert "the train loss is nan" in done.stderr
    assert recorded(tmp_path)[0]["true"]["nan"]


@pytest.mark.slow
def test_a_run_that_cannot_be_judged_is_watched(tmp_path: Path) -> None:
    """It fails as it would without a watch, and what is not compared is said once."""
    done = watch(tmp_path, str(TRAINER), "-c", "missing.yaml", "--train")
    assert done.returncode == 1
    assert "the run cannot be judged" in done.stderr
    assert "FileNotFoundError" in done.stderr
    words = training(tmp_path)
    words[words.index("--data") + 1] = "nowhere-at-all"
    done = watch(tmp_path, *words, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.count("not compared: batches, peak memory: ") == 1


def test_a_program_that_is_no_trainer_is_watched_too(tmp_path: Path) -> None:
    """Its exit code is returned, also that of a signal."""
    done = watch(tmp_path, "sh", "-c", "printf out; printf err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out")
    assert done.stderr.count("no command of mlx_lm.lora") == 1
    assert "err" in done.stderr
    killed = watch(tmp_path, "sh", "-c", "kill -KILL $$")
    assert killed.returncode == 128 + signal.SIGKILL
    assert len(recorded(tmp_path)) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("no-such-command", "--train"), 127, "not found"),
        (("./plain",), 126, "is no program"),
        ((), 2, "no command is named"),
    ],
)
def test_a_command_that_cannot_start_says_why(
    tmp_path: Path, words: Sequence[str], code: int, said: str
) -> None:
    """With the exit code of a shell."""
    (tmp_path / "plain").touch()
    done = watch(tmp_path, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize("size", ["much", "0", "101%", "-3", "nan"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    """Before anything is started."""
    done = watch(tmp_path, "touch", "started", stop_at=size)
    assert done.returncode == 2
    assert not (tmp_path / "started").exists()


def test_a_read_only_data_folder_costs_the_record_only(tmp_path: Path) -> None:
    """The watch goes on and says so."""
    done = watch(tmp_path, "true", MLX_PREFLIGHT_DATA="/dev/null/here")
    assert done.returncode == 0
    assert "not recorded" in done.stderr


@pytest.mark.slow
def test_a_hundred_megabytes_pass_unchanged(tmp_path: Path) -> None:
    """Without a line break at the end, and whatever the bytes are."""
    code = (
        "import os\nfor i in range(1000): os.write(1, bytes(range(256)) * 400)\nos.write(1, b'x')"
    )
    done = subprocess.run(
        [*WATCH, "--", *python(code)], cwd=tmp_path, capture_output=True, timeout=300, check=False
    )
    expected = bytes(range(256)) * 400 * 1000 + b"x"
    assert len(done.stdout) == len(expected)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(expected).digest()


def test_output_comes_at_once(tmp_path: Path) -> None:
    """A prompt without a line break is there while the run waits for its answer."""
    code = "print('name? ', end='', flush=True); print('hello', input())"
    with subprocess.Popen(
        [*WATCH, "--", *python(code)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(6) == b"name? "
        assert process.communicate(b"you\n", timeout=30)[0] == b"hello you\n"


def test_a_reader_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    """As it would without a watch."""
    line = shlex.join([*WATCH, "--", "yes"])
    done = subprocess.run(
        ["bash", "-c", f"{line} 2>/dev/null | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == (b"y\n", 128 + signal.SIGPIPE)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_watch_reaches_the_run_once(
    tmp_path: Path, number: int, request: pytest.FixtureRequest
) -> None:
    """Where no terminal sends it to both, the watch hands it on."""
    # Under `nohup` this process ignores SIGHUP, and so would the run.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    with subprocess.Popen(
        [*WATCH, "--", *python(COUNTS)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready False\n"
        os.kill(process.pid, number)
        assert process.stdout.read() == b"signals 1\n"
        assert process.wait(timeout=30) == 5


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_reaches_the_run_once(tmp_path: Path) -> None:
    """The terminal signals both, and the run prints to a terminal, byte for byte."""
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *WATCH, "--", *python(COUNTS)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = b""
        while b"ready True\r\n" not in seen:
            seen += os.read(process.stdout.fileno(), 1000)
        process.stdin.write(b"\x03")
        process.stdin.flush()
        seen += process.stdout.read()
    assert process.returncode == 5
    assert b"signals 1\r\n" in seen
    assert b"\r\r\n" not in seen


@pytest.mark.slow
def test_a_run_that_ignores_sigint_is_ended_all_the_same(tmp_path: Path) -> None:
    """SIGTERM follows; the limit is that of a program whose saves are not known."""
    code = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nkept = []\n"
        "while True: kept.append(b'1' * 10_000_000); time.sleep(0.05)"
    )
    done = watch(tmp_path, *python(code), stop_at="0.5")
    assert done.returncode == 128 + signal.SIGTERM
    assert "no time is left for its next save" in done.stderr
    assert recorded(tmp_path)[0]["true"]["process_peak_bytes"] <= 1_000_000_000


@pytest.mark.slow
def test_a_process_that_is_left_behind_does_not_hold_the_watch(tmp_path: Path) -> None:
    """It has the output open for longer than the run lives."""
    begin = time.monotonic()
    done = watch(tmp_path, "sh", "-c", "sleep 30 & echo done")
    assert done.stdout == "done\n"
    assert time.monotonic() - begin < 28
    assert "left behind" in done.stderr
