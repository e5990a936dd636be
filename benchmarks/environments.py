"""Time the gates of a small project, cold and warm, with two checkouts in turn; print JSON.

Run on an idle machine: `python benchmarks/environments.py --before CHECKOUT [--runs 3] [--plan]`.
Cold is without a nox folder, with whatever package cache the machine has. With `--plan` also
bare `nox` of each checkout, cold and warm, once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mlx_preflight.core import environment
from mlx_preflight.selftest import faults

HERE = Path(__file__).resolve().parents[1]

NOXFILE = '''"""Run the gates."""

import sys
from pathlib import Path

sys.path.insert(0, {source!r})

from mlx_preflight import sessions

sessions.define(Path(__file__).resolve().parent)
'''

SETTINGS = f"""
[tool.mlx-preflight]
tests-min = 1
default-group = "gates"
audit-environment = "{faults.ENVIRONMENT}"
audit-database = "{faults.DATABASE}"
"""


def project(folder: Path, checkout: Path) -> Path:
    """Write the self-test's clean sample with a noxfile that runs a checkout."""
    faults.write(folder)
    (folder / "noxfile.py").write_text(NOXFILE.format(source=str(checkout / "src")))
    with (folder / "pyproject.toml").open("a") as table:
        table.write(SETTINGS)
    return folder


def timed(folder: Path, *arguments: str) -> tuple[float, dict[str, str]]:
    """Return the wall time of nox in seconds, and the status of each row of its report."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("NOX_", "PREFLIGHT_"))},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    wall_s = time.perf_counter() - begin
    report = json.loads((folder / ".preflight" / "report.json").read_text("utf-8"))
    return round(wall_s, 2), {row["id"]: row["status"] for row in report["rows"]}


def cold_and_warm(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run nox without a nox folder, then again."""
    shutil.rmtree(folder / ".nox", ignore_errors=True)
    cold_s, _ = timed(folder, *arguments)
    warm_s, statuses = timed(folder, *arguments)
    return {"cold_s": cold_s, "warm_s": warm_s, "statuses": statuses}


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plan", action="store_true", help="also bare nox of each checkout")
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "after": HERE}
    gates: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(options.runs):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory() as folder:
                gates[name].append(cold_and_warm(project(Path(folder), checkout)))
    found: dict[str, Any] = {"gates": gates, "ratio_after_to_before": {}}
    for key in ("cold_s", "warm_s"):
        medians = {n: statistics.median(run[key] for run in runs) for n, runs in gates.items()}
        found["ratio_after_to_before"][f"gates_{key}"] = medians["after"] / medians["before"]
    if options.plan:
        found["plan"] = {name: cold_and_warm(path) for name, path in checkouts.items()}
        for key in ("cold_s", "warm_s"):
            ratio = found["plan"]["after"][key] / found["plan"]["before"][key]
            found["ratio_after_to_before"][f"plan_{key}"] = ratio
    found |= {"environment": environment.capture(), "git": environment.git(HERE)}
    print(json.dumps(found, sort_keys=True, indent=1))


if __name__ == "__main__":
    main()
