"""Time bare `nox` and `nox -s ac`, first and second run, and print JSON.

Run from the project root: `python benchmarks/nox_runs.py`. It deletes `.nox` first,
so the first figure is a cold nox folder with whatever package cache the machine has.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mlx_preflight.core import environment

PROJECT = Path(__file__).resolve().parents[1]


def timed(*arguments: str) -> dict[str, Any]:
    """Run nox once; return its wall time in seconds, exit code, and what was not PASS and why.

    A run that ends early would be quick for the wrong reason, so the counts of its report stand
    beside the time.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    wall_s = time.perf_counter() - started
    report = json.loads((PROJECT / ".preflight" / "report.json").read_text("utf-8"))
    return {
        "wall_s": round(wall_s, 1),
        "exit_code": done.returncode,
        "counts": report["counts"],
        "findings": {row["id"]: row["reason"] for row in report["findings"]},
    }


def main() -> None:
    """Measure and print one JSON document."""
    shutil.rmtree(PROJECT / ".nox", ignore_errors=True)
    print(
        json.dumps(
            {
                "nox_first": timed(),
                "nox_second": timed(),
                "nox_ac_second": timed("-s", "ac"),
                "environment": environment.capture(),
                "git": environment.git(PROJECT),
            },
            sort_keys=True,
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
