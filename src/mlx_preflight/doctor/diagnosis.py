"""Diagnosis: every check runs side by side, and the findings are collected."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_preflight.core.text import one_line
from mlx_preflight.doctor import answers, download, machine, memory, stack
from mlx_preflight.doctor.finding import Finding, Severity

SAW_CHARS = 1000
"""Longest observation; names of folders and tokens in it are anybody's."""


@dataclass(frozen=True, slots=True)
class DoctorTarget:
    """Model, budget and project that are diagnosed.

    Attributes:
        model: `embedded`, a folder, or a hub id.
        budget_bytes: Memory budget.
        state: The project's `.preflight` folder.
        timeout_s: Longest wait for the hub or a child process.
    """

    model: str
    budget_bytes: int
    state: Path
    timeout_s: float = 2.0


CHECKS: tuple[tuple[str, Callable[[DoctorTarget], list[Finding]]], ...] = (
    ("download", lambda it: download.check(it.model, it.timeout_s)),
    ("memory", lambda it: memory.check(it.budget_bytes, it.state)),
    ("import", lambda _: stack.check()),
    ("answers", lambda it: answers.check(it.model)),
    ("machine", lambda it: machine.check(it.timeout_s)),
)


def diagnose(target: DoctorTarget) -> list[Finding]:
    """Return every finding, problems first; a check that fails is `UNKNOWN`."""
    with ThreadPoolExecutor(max_workers=len(CHECKS)) as pool:
        asked = [(topic, pool.submit(check, target)) for topic, check in CHECKS]
    every = [
        replace(finding, saw=one_line(finding.saw, SAW_CHARS))
        for topic, done in asked
        for finding in _findings(topic, done)
    ]
    order = (Severity.PROBLEM, Severity.UNKNOWN, Severity.NOTE, Severity.GOOD)
    return sorted(every, key=lambda finding: order.index(finding.severity))


def _findings(topic: str, done: Future[list[Finding]]) -> list[Finding]:
    if (error := done.exception()) is None:
        return done.result()
    saw = f"could not be checked: {type(error).__name__}: {error}"
    why = "what was not checked is not known to be good"
    return [Finding(topic, Severity.UNKNOWN, saw, why, "report this with the text above")]
