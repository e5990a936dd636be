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

from mlx_preflight.core.child_run import ChildRun, log_tail, no_answer, task_error
from mlx_preflight.core.errors import (
    ChildError,
    ChildTimeoutError,
    ResultError,
)
from mlx_preflight.core.json_file import read_json, write_json

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

_RUNNING: set[subprocess.Popen[bytes]] = set()


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
    grace_s: float = 0.0,
) -> ChildRun:
    """Run a command to its end and return what it printed.

    Args:
        argv: Program and arguments; no shell sees them.
        cwd: Working directory.
        timeout_s: Seconds after which the whole process group is killed.
        env: Complete environment; None takes `child_environment()`.
        preexec: Called in the child before the program starts (resource limits).
        on_start: Called here with the child's process id once it runs (to watch it).
        grace_s: Seconds that it is given to end its own children, which have groups of their own.

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
        kill_group(process, grace_s)  # (also ends the pipes that are read below)
        raise ChildTimeoutError(
            f"{Path(argv[0]).name} did not end within {timeout_s:g} s and was killed",
            hint="if it is merely slow, raise timeout-s in [tool.mlx-preflight] or --timeout-s",
            log=log_tail(out.text(), err.text()),
        ) from None
    except BaseException:
        kill_group(process, grace_s)
        raise
    finally:
        # Also for grandchildren that a finished child left behind.
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


def kill_group(process: subprocess.Popen[bytes], grace_s: float = 0.0) -> None:
    """Kill a child and everything it started, and reap it; first it may end by itself."""
    if grace_s and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace_s)
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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
