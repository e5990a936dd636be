"""Time two checkouts alternately in one run and print how much slower the second is; JSON.

`python benchmarks/side_by_side.py ../old ../old/.venv/bin/python . .venv/bin/python` runs
`--help`, `list` and the prediction of a 7B model in fresh processes, A B A B, so that other
work on the machine hits both. A prediction is the median of several in one process, after one
that imports. Wall time and CPU time are given: on a busy machine the CPU time is steadier.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from unchanged_checkout import Checkout
from unchanged_parts import SEVEN

COMMANDS = ("--help", "list")
PREDICTION = f"estimate {SEVEN} --batch-size 1 --backend metal --json"


def command(checkout: Checkout, line: str) -> dict[str, float]:
    """Return seconds of one command in a fresh process."""
    begin, used = time.perf_counter(), _children_s()
    subprocess.run(
        [str(checkout.python), "-P", "-m", "mlx_preflight", *line.split()],
        cwd=checkout.root,
        env=checkout.env(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {"wall_s": time.perf_counter() - begin, "cpu_s": _children_s() - used}


def _children_s() -> float:
    """Return the CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def prediction(checkout: Checkout, times: int) -> dict[str, float]:
    """Return seconds of one prediction in a process that has made one already."""
    work = [{"argv": PREDICTION.split(), "cwd": str(checkout.root)}] * (times + 1)
    done = checkout.ask("calls", work)[1:]
    return {key: statistics.median(item[key] for item in done) for key in ("wall_s", "cpu_s")}


def compared(samples: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return medians of both sides and the second's ratio to the first, and of the quickest."""
    found: dict[str, Any] = {}
    for key in ("wall_s", "cpu_s"):
        before, after = ([item[key] for item in samples[side]] for side in ("before", "after"))
        medians = statistics.median(before), statistics.median(after)
        found[key] = {
            "before": round(medians[0], 4),
            "after": round(medians[1], 4),
            "ratio": round(medians[1] / medians[0], 3),
            "ratio_of_quickest": round(min(after) / min(before), 3),
        }
    return found


def main() -> int:
    """Measure and print; exit 1 when a ratio is over the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for side in ("before", "after"):
        parser.add_argument(f"{side}", type=Path, help="root of a checkout")
        parser.add_argument(f"{side}_python", type=Path, help="its interpreter")
    parser.add_argument("--quick", action="store_true", help="leave the prediction out")
    parser.add_argument("--rounds", type=int, default=7, help="alternations")
    parser.add_argument("--predictions", type=int, default=3, help="of one process")
    parser.add_argument(
        "--limit", type=float, default=1.05, help="ratio of CPU times to stay below"
    )
    chosen = parser.parse_args()
    sides = {
        side: Checkout(
            getattr(chosen, side).resolve(), getattr(chosen, f"{side}_python").absolute()
        )
        for side in ("before", "after")
    }
    names = COMMANDS if chosen.quick else (*COMMANDS, PREDICTION)
    samples: dict[str, Any] = {name: {side: [] for side in sides} for name in names}
    for number in range(chosen.rounds + 1):
        print(f"round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
        # The first round writes bytecode and does not count; then each side is first in turn.
        for side in sorted(sides, reverse=number % 2 == 0):
            for name in names:
                if name == PREDICTION:
                    sample = prediction(sides[side], chosen.predictions)
                else:
                    sample = command(sides[side], name)
                if number:
                    samples[name][side].append(sample)
    found = {name: compared(samples[name]) for name in names}
    slower = [name for name, item in found.items() if item["cpu_s"]["ratio"] > chosen.limit]
    document = {
        "figures": found,
        "slower_than_limit": slower,
        "limit": chosen.limit,
        "rounds": chosen.rounds,
        "load_average": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    print(json.dumps(document, indent=1, sort_keys=True))
    return 1 if slower else 0


if __name__ == "__main__":
    raise SystemExit(main())
