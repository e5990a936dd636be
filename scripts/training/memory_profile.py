"""Measure inference and QLoRA memory: `python3 scripts/training/memory_profile.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.core.units import format_bytes
from mlx_preflight.criteria.command import ScriptRun, main

NEEDED = ("AC6.2", "AC6.3", "AC6.4", "AC6.5", "AC6.6", "AC6.7")


def lines(run: ScriptRun) -> Iterator[str]:
    """Yield what the plan's greps look for, in GB (10^9 bytes)."""
    inference, training = run.value("inference_active_peak_bytes"), run.check("AC6.4")
    if inference is not None:
        yield f"Inference memory: {format_bytes(inference)}"
    if training.status is not Status.PASS:
        return
    how = "estimated, nothing run" if training.evidence is Evidence.SIMULATED else "measured"
    peak = format_bytes(run.value("training_peak_bytes"))
    yield f"Training memory (QLoRA, batch size 1, {how}): {peak}"
    resident = run.value("training_peak_rss_bytes")
    if resident is not None:
        yield f"Peak memory of the training process: {format_bytes(resident)} resident"
    budget = run.value("budget_bytes")
    yield f"Headroom: {format_bytes(run.value('headroom_bytes'))} of {format_bytes(budget)} budget"
    limit = run.value("recommended_working_set_bytes")
    if limit is not None:
        yield f"Metal's recommended working set: {format_bytes(limit)}"


if __name__ == "__main__":
    sys.exit(main("ac6-memory", NEEDED, lines))
