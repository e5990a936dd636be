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

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mlx_preflight import environment

PROJECT = Path(__file__).resolve().parents[1]


def timed(*arguments: str) -> dict[str, float | int]:
    """Run nox once and return its wall time in seconds and exit code."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    return {"wall_s": round(time.perf_counter() - started, 1), "exit_code": done.returncode}


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
