"""Steps recorded inside a framework's process: one JSON line each, on disk at once.

The parent shows them as progress, and what is written survives a crash or a hang.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path


class Recorder:
    """Recorder of one line per step: seconds since the start, CPU seconds, loss, tokens."""

    def __init__(self, path: str, started: float) -> None:
        """Open the file.

        Args:
            path: Of the lines.
            started: `time.monotonic()` of the parent when it started this process; the
                clock is the machine's, so both read the same one.
        """
        self._stream = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115  (kept)
        self._started = started
        self._number = 0

    def step(self, loss: float, tokens: int) -> None:
        """Record the end of a step; a loss that is no number ends the training.

        Raises:
            FloatingPointError: The loss is NaN or infinite.
        """
        self._number += 1
        at_s = time.monotonic() - self._started
        finite = math.isfinite(loss)
        line: dict[str, float | None] = {
            "step": self._number,
            "at_s": at_s,
            "cpu_s": time.process_time(),
        }
        line |= {"loss": loss if finite else None, "tokens": tokens}
        self._stream.write(json.dumps(line) + "\n")
        if not finite:
            raise FloatingPointError(f"the loss of step {self._number} is {loss}")
