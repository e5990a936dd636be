"""Run every examination side by side and collect the findings."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.doctor import answers, download, machine, memory, stack
from mlx_preflight.doctor.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Patient:
    """Name what is examined.

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


EXAMINATIONS: tuple[tuple[str, Callable[[Patient], list[Finding]]], ...] = (
    ("download", lambda it: download.examine(it.model, it.timeout_s)),
    ("memory", lambda it: memory.examine(it.budget_bytes, it.state)),
    ("import", lambda _: stack.examine()),
    ("answers", lambda it: answers.examine(it.model)),
    ("machine", lambda it: machine.examine(it.timeout_s)),
)


def diagnose(patient: Patient) -> list[Finding]:
    """Return every finding, problems first; an examination that fails is `UNKNOWN`.

    Args:
        patient: What to examine.
    """

    def attempt(item: tuple[str, Callable[[Patient], list[Finding]]]) -> list[Finding]:
        topic, examine = item
        try:
            found = examine(patient)
        except Exception as error:  # noqa: BLE001  (the other examinations must go on)
            found = [
                Finding(
                    topic,
                    Severity.UNKNOWN,
                    f"could not be examined: {type(error).__name__}: {error}",
                    "what was not examined is not known to be good",
                    "report this with the text above",
                )
            ]
        return found

    with ThreadPoolExecutor(max_workers=len(EXAMINATIONS)) as pool:
        every = [finding for found in pool.map(attempt, EXAMINATIONS) for finding in found]
    order = (Severity.PROBLEM, Severity.UNKNOWN, Severity.NOTE, Severity.GOOD)
    return sorted(every, key=lambda finding: order.index(finding.severity))
