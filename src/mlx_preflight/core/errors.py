"""The one error tree of the package.

A message says what failed, where, which value was seen and what was expected;
the hint says what to do. `main()` catches the base class and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class ExitCode(enum.IntEnum):
    """Exit codes of every command, script and session."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOT_JUDGED = 3
    """Something could not be measured, or is blocked."""
    NOTHING_RAN = 4
    INTERRUPTED = 130

    @classmethod
    def of(cls, passed: bool) -> ExitCode:
        """Return the exit code of a command that answers yes or no."""
        return cls.PASSED if passed else cls.FAILED


class PreflightError(Exception):
    """Condition that a user can act on.

    Attributes:
        hint: What to do about it, one sentence or a command; may be empty.
        exit_code: Process exit code when the error ends the command.
    """

    exit_code = ExitCode.NOT_JUDGED

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message for `str()` and the hint beside it."""
        super().__init__(message)
        self.hint = hint


class UsageError(PreflightError):
    """Wrong argument, profile, check id or configuration key."""

    exit_code = ExitCode.USAGE


class EstimateError(UsageError):
    """Setting or config field from which no memory estimate can be made.

    Attributes:
        field: Name of the setting or config field.
        value: What it holds.
        allowed: What it may hold.
    """

    def __init__(self, field: str, value: object, allowed: str, *, hint: str = "") -> None:
        """Build the message from its three parts."""
        super().__init__(f"{field} is {value!r}; allowed: {allowed}", hint=hint)
        self.field = field
        self.value = value
        self.allowed = allowed


class UntraceableError(PreflightError):
    """Model whose computation MLX cannot export, such as a mixture of experts."""


class InstallationError(UntraceableError):
    """Versions of mlx and mlx-lm with which no training of the model can begin."""


class CheckpointError(PreflightError):
    """Model folder that must not or cannot be loaded."""


class DataError(PreflightError):
    """Training data that cannot be read, or that no run can be predicted from."""


class ChildError(PreflightError):
    """Child process that died, timed out or answered with nothing usable.

    Attributes:
        log: The last lines that it printed, where they are known; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        """Keep the log beside message and hint."""
        super().__init__(message, hint=hint)
        self.log = log


class WorkerError(ChildError):
    """Exception inside a child's task; the child itself was not killed."""


class ChildCrashError(ChildError):
    """Child that ended itself by a signal of its own: abort, segmentation fault and their like."""


class ChildTimeoutError(ChildError):
    """Child that was killed because it ran past its time."""


class MemoryLimitError(ChildError):
    """Child that ended itself because it used more memory than it was allowed."""


class ResultError(PreflightError):
    """Result file that is unreadable, foreign or of another schema."""


class HandoffError(PreflightError):
    """Hand-off file that is malformed, locked, read-only or outside the project."""


class AdvisoryError(PreflightError):
    """Advisory database or service that cannot be read."""


class BlockedError(PreflightError):
    """Check that cannot run until something named in the hint exists."""


class InterruptedCommandError(PreflightError):
    """Ctrl-C or SIGTERM inside a command; raised by the root command alone."""

    exit_code = ExitCode.INTERRUPTED


class NothingRanError(PreflightError):
    """Run without any result."""

    exit_code = ExitCode.NOTHING_RAN


def or_error(read: Callable[[], T]) -> T | PreflightError:
    """Return what is read, or why it cannot be: one fact that is missing costs its check only."""
    try:
        return read()
    except PreflightError as error:
        return error


ERROR_FIELDS = ("error", "hint", "exit_code")
"""Keys of the JSON document that tells an error, where a command was asked for one."""
