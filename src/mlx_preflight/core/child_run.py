"""End of a child process, and the error that says what it means."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from mlx_preflight.core.child_main import OVER_LIMIT
from mlx_preflight.core.errors import (
    ChildCrashError,
    ChildError,
    MemoryLimitError,
    WorkerError,
)
from mlx_preflight.core.text import MAX_LINE, redact, strip_escapes, truncate

KEPT_END = 20_000
"""Characters at the end of a stream in which its last lines are looked for."""

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
    text = redact(_first_sentence(message))
    if kind == "MemoryError" or any(phrase in message for phrase in OUT_OF_MEMORY):
        text = _labelled(label, f"out of memory: {text}")
        return WorkerError(text, hint=HINTS["MemoryError"], log=log)
    hint = next((advice for phrase, advice in HINTS.items() if phrase in message), "")
    return WorkerError(_labelled(label, f"{kind}: {text}"), hint=hint, log=log)


def _first_sentence(message: str) -> str:
    """Return the first line, and the next ones where it ends in a colon: MLX lists names there."""
    first, *more = [line.strip() for line in message.strip().splitlines()] or ["no message"]
    if not first.endswith(":"):
        return first
    return truncate(" ".join([first, *more]), MAX_LINE)


def _labelled(label: str, cause: str) -> str:
    return f"{label}: {cause}" if label else cause


def log_tail(out: str, err: str, lines: int = 12) -> str:
    """Return the last lines of both streams, redacted; libraries put errors into either.

    Colours are left out: some libraries print them whatever they print to.
    """
    ends = strip_escapes(out[-KEPT_END:]), strip_escapes(err[-KEPT_END:])
    kept = [*ends[0].strip().splitlines()[-4:], *ends[1].strip().splitlines()[-lines:]]
    return redact("\n".join(line[:300] for line in kept if line.strip()))
