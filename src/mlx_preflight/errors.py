"""Define the one error tree of the package.

A message says what failed, where, which value was seen and what was expected;
the hint says what to do. `main()` catches the base class and nothing else.
"""

from __future__ import annotations

import unicodedata


def harmless(text: str) -> str:
    """Return a text that no terminal obeys: without control characters, line breaks kept."""
    return "".join(
        (
            char
            if char == "\n" or unicodedata.category(char)[0] != "C"
            else "\N{REPLACEMENT CHARACTER}"
        )
        for char in text
    )


class PreflightError(Exception):
    """Report a condition that a user can act on.

    Attributes:
        hint: What to do about it, one sentence or a command; may be empty.
        exit_code: Process exit code when the error ends the command.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message for `str()` and the hint beside it."""
        super().__init__(message)
        self.hint = hint


class UsageError(PreflightError):
    """Report a wrong argument, profile, check id or configuration key."""

    exit_code = 2


class EstimateError(UsageError):
    """Report a setting or config field from which no memory estimate can be made.

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
    """Report a model whose computation MLX cannot export, such as a mixture of experts."""


class CheckpointError(PreflightError):
    """Report a model folder that must not or cannot be loaded."""


class ChildError(PreflightError):
    """Report a child process that died, timed out or answered with nothing usable.

    Attributes:
        log: The last lines that it printed, where they are known; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        """Keep the log beside message and hint."""
        super().__init__(message, hint=hint)
        self.log = log


class ResultError(PreflightError):
    """Report a result file that is unreadable, foreign or of another schema."""


class HandoffError(PreflightError):
    """Report a hand-off file that is malformed, locked, read-only or outside the project."""


class AdvisoryError(PreflightError):
    """Report an advisory database or service that cannot be read."""


class BlockedError(PreflightError):
    """Report that a check cannot run until something named in the hint exists."""


class NothingRanError(PreflightError):
    """Report that a run holds no result at all."""

    exit_code = 4
