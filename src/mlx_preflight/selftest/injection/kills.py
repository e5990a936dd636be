"""Small sessions killed at a random moment: no result may be lost, and none may be half there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import read_result
from mlx_preflight.plan import register as plan
from mlx_preflight.run.context import RUN_ID_VARIABLE
from mlx_preflight.selftest.cases.results import measured, result
from mlx_preflight.selftest.injection.bases import checkout
from mlx_preflight.selftest.injection.case import RUN_ID, Sample

SESSIONS = (plan.AC7_GUIDE, plan.BENCH_LOAD, plan.REGRESSION_TESTS)
"""Sessions of milliseconds: one reads documents, one appends to a file, one reads results."""

KEPT = (plan.GATE4_UNIT, plan.GATE5_INTEGRATION, plan.AC4_LOADING)
"""Sessions whose results were there before, and must be afterwards."""

EARLIER = "".join(
    json.dumps({"run_id": f"r{number}", "value": float(number)}) + "\n" for number in range(1, 4)
)
"""Lines of the trend that earlier runs left."""

LATE = 0.5
"""Share of the kills that fall into the last fifth of a run, in which its result is written."""

_GRACE_S = 60.0


@dataclass
class Place:
    """One project in which runs are killed, one after the other.

    Attributes:
        folder: Its root.
        draw: Random numbers.
        seconds: What a whole run of each session takes.
        counts: Ends of the killed runs by name.
        lost: What was lost.
    """

    folder: Path
    draw: random.Random
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def result(self, session: str) -> Path:
        """Return the path of a session's result."""
        return self.folder / ".preflight" / "results" / f"{session}.json"

    @property
    def trend(self) -> Path:
        """Return the file that the benchmark appends to."""
        return self.folder / ".preflight" / "benchmarks.jsonl"


def run(
    count: int, folder: Path, workers: int, note: Callable[[str], None], seed: int = 0
) -> dict[str, Any]:
    """Kill small sessions at random moments, and return what was found.

    Args:
        count: How many runs are killed.
        folder: Empty folder for the projects.
        workers: Projects side by side.
        note: Shows progress.
        seed: Of the moments, which no second run meets exactly all the same.
    """
    begin = time.perf_counter()
    shares = [count // workers + (number < count % workers) for number in range(workers)]
    with child.side_by_side(workers) as pool:
        done = list(
            pool.map(
                lambda item: _killed(folder / str(item[0]), f"{seed}-{item[0]}", item[1]),
                enumerate(shares),
            )
        )
    note(f"faults: {count} runs killed")
    ends = sorted({name for place in done for name in place.counts})
    return {
        "kills": sum(shares),
        "seconds": round(time.perf_counter() - begin, 1),
        "sessions": list(SESSIONS),
        "ends": {name: sum(place.counts.get(name, 0) for place in done) for name in ends},
        "lost": [line for place in done for line in place.lost],
    }


def _killed(folder: Path, seed: str, count: int) -> Place:
    # No secret hangs on these numbers.
    place = Place(folder, random.Random(seed))  # noqa: S311  (moments of kills)
    folder.mkdir(parents=True)
    sample = Sample(folder, folder)
    checkout(sample)
    for session in KEPT[:2]:
        result(session)(sample)
    result(KEPT[2], **measured("warm_load_s", 2.0, "s"))(sample)
    for session in SESSIONS:
        _whole(place, session)
    for number in range(count):
        _one(place, SESSIONS[number % len(SESSIONS)], number)
    for session in SESSIONS:
        _whole(place, session)
    shutil.rmtree(folder, ignore_errors=True)
    return place


def _start(place: Place, session: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlx_preflight", "check", session, "--project", str(place.folder)],
        cwd=place.folder,
        env={**child.child_environment(), RUN_ID_VARIABLE: RUN_ID},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _whole(place: Place, session: str) -> None:
    """Run a session to its end; it must pass, whatever was killed before."""
    begin = time.perf_counter()
    process = _start(place, session)
    code = process.wait(_GRACE_S)
    place.seconds[session] = time.perf_counter() - begin
    if code:
        place.lost.append(f"{session}: exit {code} in a whole run")


def _one(place: Place, session: str, number: int) -> None:
    """Kill one run, and look at everything that must still be there."""
    kept = {name: place.result(name).read_bytes() for name in KEPT}
    place.trend.write_text(EARLIER, encoding="utf-8")
    process = _start(place, session)
    whole = place.seconds[session]
    least = 0.8 if place.draw.random() < LATE else 0.0
    moment = place.draw.uniform(least, 1.1) * whole
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait(_GRACE_S)
    end = _end(place, session, code)
    place.counts[end] = place.counts.get(end, 0) + 1
    place.lost += [
        f"{session}, kill {number}: {name} changed"
        for name, before in kept.items()
        if not place.result(name).is_file() or place.result(name).read_bytes() != before
    ]
    if not place.trend.read_text(encoding="utf-8").startswith(EARLIER):
        place.lost.append(f"{session}, kill {number}: lines of the trend are gone")


def _end(place: Place, session: str, code: int) -> str:
    """Return how a killed run ended: finished, no result, or a whole one."""
    path = place.result(session)
    if not path.exists():
        if code == 0:
            place.lost.append(f"{session}: exit 0 and no result")
        return "killed, no result"
    try:
        found = read_result(path)
    except PreflightError as error:
        place.lost.append(f"{session}: {error}")
        return "damaged"
    expected = {check.id for check in plan.find_session(session)[0].checks}
    if {check.id for check in found.checks} != expected:
        place.lost.append(f"{session}: a result without all checks")
    return "finished" if code == 0 else "killed, whole result"
