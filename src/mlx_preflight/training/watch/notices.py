"""Lines of the watch on stderr: each cause once, and its latest value at the end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlx_preflight.core.text import one_line, redact

MAX_NOTICE = 2_000
"""Longest line; a resume command holds the whole command."""


@dataclass(slots=True)
class Notices:
    """Causes that were named.

    Attributes:
        latest: Cause → its latest text.
    """

    latest: dict[str, str] = field(default_factory=dict)
    _printed: dict[str, str] = field(default_factory=dict)

    def warn(self, cause: str, text: str) -> None:
        """Keep a text as the latest of its cause; the first one is printed."""
        new = cause not in self.latest
        self.latest[cause] = text
        if new:
            self._printed[cause] = text
            say(text)

    def changed(self) -> Iterator[str]:
        """Yield the latest texts of causes whose value has changed since it was printed.

        When the run would have ended is of no use then.
        """
        for cause, text in self.latest.items():
            if self._printed[cause] != text and not cause.startswith("finish"):
                yield text


def say(text: str) -> None:
    """Print a line beside the output of the run, whose progress bar may stand in the way."""
    start = "\r\x1b[2K" if os.isatty(sys.stderr.fileno()) else ""
    line = f"{start}watch: {one_line(redact(text), MAX_NOTICE)}\n"
    with contextlib.suppress(OSError):  # (nobody reads stderr: the run goes on)
        os.write(sys.stderr.fileno(), line.encode("utf-8", errors="replace"))
