"""Cases in worker processes, a few of one session each; what a worker leaves behind is counted."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mlx_preflight.core import child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.json_file import parse_json, write_json
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.case import Case
from mlx_preflight.selftest.injection.trial import DIED, Trial

MARK = "PREFLIGHT_FAULTS"
"""Variable that every process of a worker inherits, by which it is found when the worker ended."""

TIMEOUT_S = 3600.0

FEW = {
    plan.AC3_INSTALLATION: 6,
    plan.AC4_LOADING: 12,
    plan.AC5_INFERENCE: 5,
    plan.GATE4_UNIT: 8,
    plan.GATE5_INTEGRATION: 8,
    plan.FINISH1_ADAPTER: 12,
    "e2e": 6,
    "mcp": 8,
}
"""Cases of one worker, where each takes seconds."""

WHOLE = (plan.AC6_MEMORY,)
"""Sessions whose cases share more than the base: the predictor is calibrated once in a process."""

MANY = 30


@dataclass(frozen=True)
class Batch:
    """Cases that one worker judges."""

    session: str
    cases: tuple[Case, ...]


@dataclass
class Found:
    """What the workers found.

    Attributes:
        trials: How every case ended.
        tracebacks: Session → last line of each traceback that a worker printed.
        orphans: Session → names of processes that a worker left behind.
    """

    trials: list[Trial] = field(default_factory=list)
    tracebacks: dict[str, list[str]] = field(default_factory=dict)
    orphans: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Take over what another worker found."""
        self.trials += other.trials
        for mine, theirs in (
            (self.tracebacks, other.tracebacks),
            (self.orphans, other.orphans),
        ):
            for session, lines in theirs.items():
                mine.setdefault(session, []).extend(lines)


def batches(cases: Sequence[Case]) -> list[Batch]:
    """Return the cases in batches of one session each, those that take longest first.

    Cases that share what is measured on the base are one batch: it is measured once.
    """
    made = []
    for session in dict.fromkeys(case.session for case in cases):
        mine = [case for case in cases if case.session == session]
        shared = [case for case in mine if case.shared or case.answer]
        own = [case for case in mine if not (case.shared or case.answer)]
        size = len(own) or 1 if session in WHOLE else FEW.get(session, MANY)
        parts = [own[at : at + size] for at in range(0, len(own), size)]
        made += [Batch(session, tuple(part)) for part in (shared, *parts) if part]
    order = [*WHOLE, plan.FINISH2_MODEL, plan.FINISH1_ADAPTER, *FEW]
    return sorted(made, key=lambda item: _place(order, item.session))


def _place(order: Sequence[str], session: str) -> int:
    return order.index(session) if session in order else len(order)


def run(cases: Sequence[Case], kept: Path, workers: int, note: Callable[[str], None]) -> Found:
    """Judge cases in worker processes side by side.

    Args:
        cases: The cases.
        kept: Folder of what they share, see `Sample.kept`.
        workers: How many processes at once.
        note: Shows progress.
    """
    found = Found()
    planned = batches(cases)
    stop = threading.Event()
    with child.side_by_side(workers) as pool:
        try:
            parts = pool.map(lambda item: _judged(item, kept, stop), planned)
            for batch, part in zip(planned, parts, strict=True):
                found.add(part)
                note(f"faults: {len(found.trials)} of {len(cases)} cases, {batch.session}")
        finally:
            # After Ctrl-C no other worker takes the place of one that was killed.
            stop.set()
    return found


def _judged(batch: Batch, kept: Path, stop: threading.Event) -> Found:
    """Judge a batch; where the worker dies, the case in hand died, and another one goes on."""
    found = Found()
    left = [case.id for case in batch.cases]
    while left and not stop.is_set():
        with tempfile.TemporaryDirectory(prefix="preflight-faults-") as folder:
            done = list(_worker(batch.session, left, Path(folder), kept, found))
        found.trials += done
        left = left[len(done) :]
        if left:
            found.trials.append(Trial(left.pop(0), DIED, {}, False, 0.0))
    return found


def _worker(
    session: str, ids: Sequence[str], folder: Path, kept: Path, found: Found
) -> Iterator[Trial]:
    """Run one worker, and yield what it answered."""
    mark = secrets.token_hex(8)
    job, answers = folder / "job.json", folder / "answers.jsonl"
    asked = {"session": session, "cases": list(ids), "folder": str(folder), "kept": str(kept)}
    write_json(job, asked)
    answers.touch()
    lines = found.tracebacks.setdefault(session, [])
    try:
        done = child.run_child(
            (sys.executable, "-m", f"{__package__}.worker", str(job), str(answers)),
            cwd=folder,
            timeout_s=TIMEOUT_S,
            env={**child.child_environment(), MARK: mark},
        )
        lines += tracebacks(done)
    except ChildError as error:
        lines.append(str(error))
    found.orphans.setdefault(session, []).extend(end_marked(mark))
    for line in answers.read_text(encoding="utf-8").splitlines():
        yield Trial(**parse_json(line))


def tracebacks(done: ChildRun) -> list[str]:
    """Return the last line of every traceback that a process printed."""
    said = f"{done.stdout}\n{done.stderr}"
    parts = said.split("Traceback (most recent call last)")[1:]
    return [
        next((line for line in part.splitlines()[1:] if line[:1].strip()), "no last line")
        for part in parts
    ]


def end_marked(mark: str) -> list[str]:
    """End every process that still has a mark, and return their names."""
    names = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                names.append(process.name())
                process.kill()
        except psutil.Error:
            continue  # it has ended, or is another user's
    return names
