"""Time the short commands and the static criteria, and print one JSON document.

Run from the project root: `python benchmarks/commands.py --rounds 7`. Each figure is the
median of fresh processes, wall time in seconds; the static criteria are timed inside one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mlx_preflight.core import environment

PROJECT = Path(__file__).resolve().parents[1]

CRITERIA = """
import sys, time
from pathlib import Path
from mlx_preflight.plan import register, settings as project_table, spec as plan
from mlx_preflight.run import session as runner
from mlx_preflight.plan import settings as project_table, register, runner
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import dependencies
dependencies.clean_venv.editable = lambda *_: dependencies.Installation("not timed", "not timed")
dependencies._audit = lambda *_: None
begin = time.perf_counter()
for name in ("ac1-evaluation", "ac2-selection", "ac7-guide", "ac8-dependencies"):
    session, _ = register.find_session(name)
    context = runner.Context.of(
        Path.cwd(), project_table.Settings(), run_id="b",
        workspace=Workspace(Path(sys.argv[1])), note=lambda _: None,
    )
    module = __import__(f"mlx_preflight.{session.module}", fromlist=["gather"])
    facts = module.gather(session, context)
    for check in session.checks:
        if check.id not in ("AC8.6", "AC8.7", "AC8.8"):
            module.CHECKS[check.id](facts)
print(time.perf_counter() - begin)
"""


def wall(argv: list[str]) -> float:
    """Return the wall time of a fresh offline process, in seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *argv],
        cwd=PROJECT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - started


def criteria(state: str) -> float:
    """Return the time that the static criteria took to read and judge, in seconds."""
    done = subprocess.run(
        [sys.executable, "-c", CRITERIA, state],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    commands = {
        "help_s": ["-m", "mlx_preflight", "--help"],
        "list_s": ["-m", "mlx_preflight", "list"],
        "doctor_offline_s": ["-m", "mlx_preflight", "doctor"],
        "doctor_target_offline_s": [
            "-m",
            "mlx_preflight",
            "doctor",
            "--profile",
            "qwen2.5-coder-7b",
        ],
    }
    figures = {
        name: statistics.median(wall(argv) for _ in range(rounds))
        for name, argv in commands.items()
    }
    state = str(PROJECT / ".preflight" / "bench")
    figures["static_criteria_s"] = statistics.median(criteria(state) for _ in range(rounds))
    print(
        json.dumps(
            {
                **{name: round(value, 3) for name, value in figures.items()},
                "rounds": rounds,
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "environment": environment.capture(),
            },
            sort_keys=True,
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
