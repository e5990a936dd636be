"""Record of a watched run: what was true, for the user's data and for the run history.

It holds no row and no path of data, and of the command the settings alone.
"""

from __future__ import annotations

import datetime as dt
import statistics
from typing import Any

from mlx_preflight import __version__
from mlx_preflight.core import environment
from mlx_preflight.core.text import one_line
from mlx_preflight.training import own_runs, run_curve
from mlx_preflight.training.run_curve import Check, Steps, Window
from mlx_preflight.training.watch.comparison import Comparison
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.supervisor import Ending

SWAPPED = "swap"
"""Cause of the notice that the system writes to swap."""


def document(run_id: str, started: dt.datetime, ending: Ending) -> dict[str, Any]:
    """Return the record as JSON data.

    Args:
        run_id: Id of the run.
        started: When it started.
        ending: Its end.
    """
    seen, known = ending.comparison, ending.comparison.forecast
    found = {
        "schema": own_runs.SCHEMA,
        "run_id": run_id,
        "started": started.isoformat(timespec="seconds"),
        "tool": f"mlx-preflight {__version__}",
        "environment": environment.capture(),
        "model": one_line(known.model),
        "settings": known.settings,
        "widths": widths(known),
        "predicted": _predicted(known),
        "true": {
            "exit_code": ending.code,
            "stopped": ending.stop_reason,
            "finished": ending.finished,
            "duration_s": round(ending.duration_s, 3),
            "iterations": seen.progress,
            "step_s": seen.pace.step_s(),
            "steps": [
                {"steps": w.steps, "duration_s": round(w.duration_s, 4)}
                for w in seen.pace.windows[:1000]
            ],
            "validation_s": [round(item, 3) for item in seen.pace.validations_s[:1000]],
            "process_peak_bytes": seen.peak_bytes or None,
            "mlx_peak_bytes": seen.reported_peak_bytes,
            "nan": seen.nan_after is not None,
        },
        "warnings": [
            text for cause, text in seen.notices.latest.items() if not cause.startswith("unknown")
        ],
        "steps": steps(seen),
    }
    return {**found, "sha256": own_runs.seal(found)}


def steps(seen: Comparison) -> dict[str, Any] | None:
    """Return what the steps took by their widths; None where that is not known."""
    known = seen.forecast
    if not known.digest or not known.widths or not seen.pace.windows:
        return None
    met: set[int] = set()
    windows = []
    for window in seen.pace.windows:
        part = known.widths[window.begin : window.begin + window.steps]
        if len(part) < window.steps:
            return None  # it is another run than the one that was judged
        firsts = len(set(part) - met)
        met |= set(part)
        sums = (sum(part), sum(width**2 for width in part))
        windows.append(Window(window.steps, *sums, firsts, round(window.duration_s, 5)))
    if windows[0].seconds <= 0:
        windows = windows[1:]
    checks = [
        Check(count, tokens, round(seconds, 5))
        for (count, tokens), seconds in zip(
            known.validations, seen.pace.validations_s, strict=False
        )
        if count and tokens
    ]
    if not (kept := run_curve.joined(windows)):
        return None
    found = Steps(
        (min(met), max(met)),
        kept,
        tuple(checks[: run_curve.MOST_WINDOWS]),
        SWAPPED in seen.notices.latest,
    )
    return {"digest": known.digest, **found.to_json()}


def widths(known: Forecast) -> dict[str, Any] | None:
    """Return a summary of the widths of all batches; None where they are not known."""
    if not known.widths:
        return None
    found = sorted(known.widths)
    return {
        "batches": len(found),
        "least": found[0],
        "median": statistics.median(found),
        "mean": statistics.fmean(found),
        "most": found[-1],
    }


def _predicted(known: Forecast) -> dict[str, Any]:
    return {
        "peak_bytes": known.peak_bytes,
        "peak_low_bytes": known.peak_low_bytes,
        "peak_high_bytes": known.peak_high_bytes,
        "steps_s": None if known.step_s is None else sum(known.step_s),
    }
