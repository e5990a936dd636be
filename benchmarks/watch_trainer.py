"""Real `mlx_lm.lora` that keeps more memory with every step, and notes its own steps and peak.

`watch.py` copies it to a folder under the trainer's name. Of the trainer only the progress bar's
`advance` is wrapped, which is called once per step.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from mlx_lm import lora
from mlx_lm.cli_ui import TrainUI

LEAK_BYTES = int(os.environ.get("WATCH_LEAK_BYTES", "0"))
NOTES = os.environ.get("WATCH_NOTES", "")

SCALE = 1 if sys.platform == "darwin" else 1024
"""Bytes of a unit of ru_maxrss (getrusage(2) of each)."""

_advance = TrainUI.advance
_kept: list[bytes] = []
_ends: list[float] = []


def advance(ui: Any) -> None:
    """Take what leaks, and note time and peak."""
    _kept.append(b"\1" * LEAK_BYTES)
    _ends.append(time.perf_counter())
    _advance(ui)
    if NOTES:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * SCALE
        # The process may be ended at any time: a file that is there is a whole one.
        Path(f"{NOTES}.new").write_text(json.dumps({"ends_s": _ends, "peak_bytes": peak}))
        Path(f"{NOTES}.new").replace(NOTES)


if __name__ == "__main__":
    TrainUI.advance = advance
    lora.main()
