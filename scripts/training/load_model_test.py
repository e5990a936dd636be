"""Load the model and say what it is: `python3 scripts/training/load_model_test.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_bytes, format_number, format_parameters
from mlx_preflight.criteria.command import ScriptRun, main

NEEDED = ("AC4.2", "AC4.3", "AC4.4", "AC4.5")
BILLION = 10**9


def lines(run: ScriptRun) -> Iterator[str]:
    """Yield what the plan's greps look for."""
    if run.check("AC4.2").status is not Status.PASS:
        return
    parameters = int(run.value("parameters"))
    scale = f" parameters ({parameters // BILLION}B class)" if parameters >= BILLION else ""
    yield "Model loaded successfully"
    yield f"Architecture: {run.value('architecture')}, {run.value('dtypes')}"
    yield f"Parameters: {format_parameters(parameters)}{scale} ({parameters:,})"
    yield f"Tokenizer: {run.value('tokenizer')}, {run.value('round_trips')} round trips"
    cold = run.value("cold_load_s")
    yield f"Load time: {format_number(run.value('warm_load_s'), 3)} seconds (warm page cache)"
    if cold is not None:
        yield f"Cold load time: {format_number(cold, 3)} seconds"
    yield f"Location: {run.value('location')}, {format_bytes(run.value('disk_bytes'))} on disk"


if __name__ == "__main__":
    sys.exit(main("ac4-loading", NEEDED, lines))
