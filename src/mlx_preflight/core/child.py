"""Child processes that can neither hang the parent nor outlive it.

Every tool and every measurement runs through `run_child`: own process group, timeout,
stdout and stderr drained together, the tail kept. No command is ever a shell string.
Modules of this package run through `call`, which hands over a job file and reads an answer
file; `child_main` is the child's half of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from mlx_preflight.core.child_main import OVER_LIMIT
from mlx_preflight.core.errors import (
    ChildCrashError,
    ChildError,
    ChildTimeoutError,
    MemoryLimitError,
    ResultError,
    WorkerError,
)
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.text import redact, strip_escapes

KEPT_END = 20_000
"""Characters at the end of a stream in which its last lines are looked for."""

KEPT_BYTES = 4_000_000
"""Bytes kept of each stream; ruff and mypy write JSON in this order of size."""

SECRETS = re.compile(
    # TOKENIZERS_PARALLELISM is no secret.
    r"TOKEN(?!IZER)|SECRET|PASSW(OR)?D|(API|ACCESS|PRIVATE)_?KEY|CREDENTIAL",
    re.IGNORECASE,
)
"""Environment variables whose name matches never reach a child."""

OFFLINE = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLXLM_USE_MODELSCOPE": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
}
"""Variables of every `call`: no library reaches a hub, and none reports a run."""

HINTS = {
    "MemoryError": "use a smaller or a quantized model, or close other programs",
    "not allowed to raise maximum limit": "raise the open-file limit: `ulimit -Hn 4096` or more",
    "current limit exceeds maximum limit": "raise the open-file limit: `ulimit -Hn 4096` or more",
    "requires importing and running": "code from a model folder is never run; use another model",
}
"""What to do about an error whose message holds the key."""

OUT_OF_MEMORY = ("Unable to allocate", "out of memory", "Insufficient Memory", "bad_alloc")
"""Parts of the messages by which MLX and C++ say that memory ran out."""

CRASHES = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""Signals that a process gets for what it did itself; others are sent by the system or people."""

CRASH_WORDS = ("what():", "Assertion failed", "Fatal Python error", "[METAL]")
"""Parts of the lines that say why, as C++, C and Python print them before they abort."""

_RUNNING: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class ChildRun:
    """End of a child process, and its output.

    Attributes:
        returncode: Exit status; negative is the signal that killed it.
        stdout: Decoded output, its end if it was over `KEPT_BYTES`.
        stderr: Likewise.
        duration_s: Wall time.
        truncated: Whether the beginning of a stream was dropped.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    duration_s: float
    truncated: bool

    def signal_reason(self) -> str:
        """Return why the child died of a signal, or an empty text when it did not."""
        if self.returncode >= 0:
            return ""
        try:
            name = signal.Signals(-self.returncode).name
        except ValueError:  # real-time signals between the two named ones
            name = f"signal {-self.returncode}"
        hint = ": the system ran out of memory, or somebody killed it" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"

    def exit_reason(self) -> str:
        """Return the signal that killed the child, or else its exit code."""
        return self.signal_reason() or f"exit code {self.returncode}"

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of stderr, or of stdout when stderr is empty, redacted."""
        text = self.stderr.strip() or self.stdout.strip()
        return redact("\n".join(text.splitlines()[-lines:]))


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the parent's environment without secrets, plus `extra`."""
    clean = {key: value for key, value in os.environ.items() if not SECRETS.search(key)}
    return {**clean, "PYTHONUNBUFFERED": "1", **(extra or {})}


def run_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    preexec: Callable[[], None] | None = None,
    on_start: Callable[[int], None] | None = None,
) -> ChildRun:
    """Run a command to its end and return what it printed.

    Args:
        argv: Program and arguments; no shell sees them.
        cwd: Working directory.
        timeout_s: Seconds after which the whole process group is killed.
        env: Complete environment; None takes `child_environment()`.
        preexec: Called in the child before the program starts (resource limits).
        on_start: Called here with the child's process id once it runs (to watch it).

    Raises:
        ChildError: The program does not exist or ran past its time. A non-zero exit
            is not an error: the caller knows what the tool means by it.
    """
    started = time.perf_counter()
    held = _HeldSignals()
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env) if env is not None else child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=preexec,  # noqa: PLW1509  (sets limits only; threads start after it)
        )
    except (OSError, subprocess.SubprocessError) as error:
        held.release()
        raise ChildError(f"cannot start {argv[0]}: {error}") from error
    except BaseException:
        held.release()
        raise
    _RUNNING.add(process)
    out, err = _Drain(process.stdout), _Drain(process.stderr)
    try:
        held.release()
        if on_start is not None:
            on_start(process.pid)
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)  # (also ends the pipes that are read below)
        raise ChildTimeoutError(
            f"{Path(argv[0]).name} did not end within {timeout_s:g} s and was killed",
            hint="if it is merely slow, raise timeout-s in [tool.mlx-preflight] or --timeout-s",
            log=log_tail(out.text(), err.text()),
        ) from None
    finally:
        # Also on Ctrl-C, and for grandchildren that a finished child left behind.
        kill_group(process)
        _RUNNING.discard(process)
    return ChildRun(
        argv=tuple(argv),
        returncode=process.returncode,
        stdout=out.text(),
        stderr=err.text(),
        duration_s=time.perf_counter() - started,
        truncated=out.dropped or err.dropped,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer of a child, and its duration.

    Attributes:
        value: The JSON data that its task returned.
        duration_s: Wall time of the process.
    """

    value: Any
    duration_s: float


def call(
    module: str,
    job: Mapping[str, Any],
    *,
    timeout_s: float,
    label: str = "",
    folder: Path | None = None,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    on_start: Callable[[int], None] | None = None,
) -> Reply:
    """Run `python -m MODULE JOB ANSWER` in a fresh process and return its answer.

    An answer counts only where the child wrote it last and then ended with exit code 0:
    a success is what the child says at its end, not the absence of an error.

    Args:
        module: Its `main` is `child_main.run_job` around a task.
        job: JSON data for the task.
        timeout_s: Seconds after which the process group is killed.
        label: What runs, as the first words of every error.
        folder: Working directory, which keeps job and answer; None takes a temporary one.
        python: Interpreter.
        env: Complete environment; None takes `offline_environment()`.
        on_start: Called with the child's process id once it runs.

    Raises:
        WorkerError: The task raised; the message is the exception's.
        ChildError: The child was killed, ran past its time, or left no answer.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="preflight-")))
        question, answer = folder / "job.json", folder / "answer.json"
        answer.unlink(missing_ok=True)
        write_json(question, job)
        done = run_child(
            (python, "-m", module, str(question), str(answer)),
            cwd=folder,
            timeout_s=timeout_s,
            env=offline_environment() if env is None else env,
            on_start=on_start,
        )
        if done.signal_reason():
            raise no_answer(done, label)
        try:
            document = read_json(answer)
            if document["ok"] and done.returncode == 0:
                return Reply(document["value"], done.duration_s)
            kind, message = str(document["error"]), str(document["message"])
        except (ResultError, KeyError, TypeError) as error:
            raise no_answer(done, label) from error
        raise task_error(label, kind, message, log_tail(done.stdout, done.stderr))


def offline_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `child_environment` in which libraries of models reach no hub, plus `extra`."""
    return child_environment({**OFFLINE, **(extra or {})})


def no_answer(done: ChildRun, label: str = "") -> ChildError:
    """Return the error of a child that died, or ended without an answer."""
    log = log_tail(done.stdout, done.stderr)
    if -done.returncode in CRASHES:
        return _crashed(done, label, log)
    if killed := done.signal_reason():
        return ChildError(_labelled(label, killed), hint=HINTS["MemoryError"], log=log)
    # The last line of a traceback is its cause.
    last = log.splitlines()[-1].strip() if log else "no output"
    if done.returncode == OVER_LIMIT:
        return MemoryLimitError(_labelled(label, last), hint=HINTS["MemoryError"], log=log)
    return ChildError(_labelled(label, f"{done.exit_reason()} and no answer: {last}"), log=log)


def _crashed(done: ChildRun, label: str, log: str) -> ChildCrashError:
    """Return the error of a child that crashed, with what it said last where it said why."""
    lines = [line.strip() for line in log.splitlines()]
    said = next((x for x in reversed(lines) if any(word in x for word in CRASH_WORDS)), "")
    memory = any(phrase in log for phrase in OUT_OF_MEMORY)
    text = "out of memory: " * memory + done.signal_reason() + (f": {said}" if said else "")
    return ChildCrashError(_labelled(label, text), hint=HINTS["MemoryError"] * memory, log=log)


def task_error(label: str, kind: str, message: str, log: str = "") -> WorkerError:
    """Return the error of a task that raised an exception, with advice where there is some."""
    text = redact(message.strip().splitlines()[0] if message.strip() else "no message")
    if kind == "MemoryError" or any(phrase in message for phrase in OUT_OF_MEMORY):
        text = _labelled(label, f"out of memory: {text}")
        return WorkerError(text, hint=HINTS["MemoryError"], log=log)
    hint = next((advice for phrase, advice in HINTS.items() if phrase in message), "")
    return WorkerError(_labelled(label, f"{kind}: {text}"), hint=hint, log=log)


def _labelled(label: str, cause: str) -> str:
    return f"{label}: {cause}" if label else cause


def log_tail(out: str, err: str, lines: int = 12) -> str:
    """Return the last lines of both streams, redacted; libraries put errors into either.

    Colours are left out: some libraries print them whatever they print to.
    """
    ends = strip_escapes(out[-KEPT_END:]), strip_escapes(err[-KEPT_END:])
    kept = [*ends[0].strip().splitlines()[-4:], *ends[1].strip().splitlines()[-lines:]]
    return redact("\n".join(line[:300] for line in kept if line.strip()))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and everything it started, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def side_by_side(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Run functions that start children on threads; Ctrl-C kills all of the children."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            # An interrupt reaches the main thread only, and the pool waits for the others.
            for process in tuple(_RUNNING):
                kill_group(process)
            raise


class _HeldSignals:
    """Signals that end this process, held back while a child starts.

    One that came between the child's start and the `finally` that kills it would leave the
    child running: it has a session of its own, which Ctrl-C does not reach.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._received: list[tuple[int, FrameType | None]] = []
        if threading.current_thread() is not threading.main_thread():
            return  # signals reach the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._hold)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._received.append((number, frame))

    def release(self) -> None:
        """Restore the handlers, and let them have what came meanwhile."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number, frame in self._received:
            self._handlers[number](number, frame)


class _Drain:
    """Reader of a pipe on a thread of its own; it keeps the last `KEPT_BYTES`."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self.dropped = False
        self._chunks = bytearray()
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            # `stream.read` would wait until so many bytes are there.
            while chunk := os.read(self._stream.fileno(), 65536):
                self._chunks += chunk
                if len(self._chunks) > 2 * KEPT_BYTES:
                    del self._chunks[:-KEPT_BYTES]
                    self.dropped = True

    def text(self) -> str:
        self._thread.join(timeout=10)
        return bytes(self._chunks[-KEPT_BYTES:]).decode("utf-8", errors="replace")
