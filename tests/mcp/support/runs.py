"""Reports of made-up runs, in the form that `summary` writes."""

from __future__ import annotations

import datetime as dt
from typing import Any

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def report(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the report of a run; later numbers started later.

    Args:
        number: Makes the run id and the time.
        changes: Fields of the report; `failed` maps check ids to reasons, `measured` maps
            `CHECK/name` to values.
    """
    failed: dict[str, str] = changes.pop("failed", {})
    measured: dict[str, float] = changes.pop("measured", {})
    checks = {"GATE1": "formatted", "GATE2": "linted", "AC6.2": "peak memory measured", **failed}
    checks |= {key.partition("/")[0]: "measured" for key in measured}
    rows = [
        {
            "id": name,
            "session": "gate1-format",
            "title": f"the title of {name}",
            "status": "FAIL" if name in failed else "PASS",
            "evidence": "static",
            "reason": failed.get(name, "as required"),
            "remedy": "mend it" if name in failed else "",
            "required": True,
            "measurements": [
                {"name": key.partition("/")[2], "value": value}
                for key, value in measured.items()
                if key.partition("/")[0] == name
            ],
        }
        for name in checks
    ]
    return {
        "run_id": f"run-{number:05}",
        "started": (START + dt.timedelta(hours=number)).isoformat(),
        "group": "preflight",
        "profile": "embedded",
        "model": {"requested": "embedded"},
        "tool": "mlx-preflight 0.1.0",
        "verdict": "needs_adapt" if failed else "ready_for_integrator",
        "status": "FAIL" if failed else "PASS",
        "holds_for": "the embedded model",
        "counts": {"PASS": len(rows) - len(failed), "FAIL": len(failed)},
        "environment": {
            "system": "Linux",
            "machine": "x86_64",
            "processor": "AMD EPYC",
            "cpu_count": 2,
            "memory_bytes": 25_000_000_000,
            "packages": {"mlx": "0.32.4"},
        },
        "git": {"commit": "c0ffee", "dirty": False},
        "rows": rows,
        **changes,
    }
