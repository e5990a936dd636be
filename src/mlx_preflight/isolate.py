"""Run a child process that can neither hang the parent nor outlive it.

Every tool and every measurement runs through `run_child`: own process group, timeout,
stdout and stderr drained together, the tail kept. No command is ever a shell string.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlx_preflight.errors import ChildError

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

_SECRET_TEXT = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?i:(?<=bearer ))\S+|(?<=://)[^/\s@]+(?=@)")

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_RUNNING: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Finished:
    """Hold how a child ended.

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

    def death(self) -> str:
        """Return why the child died of a signal, or an empty text when it did not."""
        if self.returncode >= 0:
            return ""
        try:
            name = signal.Signals(-self.returncode).name
        except ValueError:  # real-time signals between the two named ones
            name = f"signal {-self.returncode}"
        hint = ": the system ran out of memory, or somebody killed it" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of stderr, or of stdout when stderr is empty, redacted."""
        text = self.stderr.strip() or self.stdout.strip()
        return redact("\n".join(text.splitlines()[-lines:]))


def redact(text: str) -> str:
    """Replace hub tokens, bearer tokens and URL credentials in a text by `***`."""
    return _SECRET_TEXT.sub("***", text)


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
    begun: Callable[[int], None] | None = None,
) -> Finished:
    """Run a command to its end and return what it printed.

    Args:
        argv: Program and arguments; no shell sees them.
        cwd: Working directory.
        timeout_s: Seconds after which the whole process group is killed.
        env: Complete environment; None takes `child_environment()`.
        preexec: Called in the child before the program starts (resource limits).
        begun: Called here with the child's process id once it runs (to watch it).

    Raises:
        ChildError: The program does not exist or ran past its time. A non-zero exit
            is not an error: the caller knows what the tool means by it.
    """
    started = time.perf_counter()
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env) if env is not None else child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # Sets resource limits only; the drain threads start after it.
            preexec_fn=preexec,  # noqa: PLW1509
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ChildError(f"cannot start {argv[0]}: {error}") from error
    _RUNNING.add(process)
    out, err = _Drain(process.stdout), _Drain(process.stderr)
    try:
        if begun is not None:
            begun(process.pid)
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)  # (also ends the pipes that are read below)
        raise ChildError(
            f"{Path(argv[0]).name} did not end within {timeout_s:g} s and was killed",
            hint="if it is merely slow, raise timeout-s in [tool.mlx-preflight] or --timeout-s",
            log=ending(out.text(), err.text()),
        ) from None
    finally:
        # Also on Ctrl-C, and for grandchildren that a finished child left behind.
        kill_group(process)
        _RUNNING.discard(process)
    return Finished(
        argv=tuple(argv),
        returncode=process.returncode,
        stdout=out.text(),
        stderr=err.text(),
        duration_s=time.perf_counter() - started,
        truncated=out.dropped or err.dropped,
    )


def ending(out: str, err: str, lines: int = 12) -> str:
    """Return the last lines of both streams, redacted; libraries put errors into either.

    Colours are left out: some libraries print them whatever they print to.
    """
    ends = _COLOUR.sub("", out[-KEPT_END:]), _COLOUR.sub("", err[-KEPT_END:])
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


class _Drain:
    """Read a pipe to its end on a thread, keeping the last `KEPT_BYTES`."""

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
            while chunk := self._stream.read1(65536):  # type: ignore[attr-defined]
                self._chunks += chunk
                if len(self._chunks) > 2 * KEPT_BYTES:
                    del self._chunks[:-KEPT_BYTES]
                    self.dropped = True

    def text(self) -> str:
        self._thread.join(timeout=10)
        return bytes(self._chunks[-KEPT_BYTES:]).decode("utf-8", errors="replace")
