"""Run every gate on the clean sample and on each fault, and say which turned red.

The gates run in this venv through the same code as any other project, so what is proved
here holds for the tool versions that are installed here, and is recorded with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlx_preflight import plan, project_table, register, runner
from mlx_preflight.isolate import side_by_side
from mlx_preflight.result import CheckResult, Status
from mlx_preflight.selftest import faults
from mlx_preflight.selftest.faults import Fault
from mlx_preflight.selftest.record import Trial, tool_of

_TIMEOUT_S = 300.0

_WORKERS = 4
"""Trials side by side; each has a folder of its own."""

GATES = tuple(session.id for session in register.sessions("gates"))


def trials(
    folder: Path, note: Callable[[str], None], chosen: Sequence[Fault] = faults.FAULTS
) -> Iterator[Trial]:
    """Run all gates on the clean project, then on every fault, each in a fresh copy.

    Args:
        folder: Empty folder for the copies.
        note: Shows progress.
        chosen: Faults to plant.
    """
    planned = list(enumerate((None, *chosen)))

    def tried(item: tuple[int, Fault | None]) -> Trial:
        number, fault = item
        note(f"selftest {number + 1} of {len(planned)}: {fault.name if fault else 'clean'}")
        return _trial(faults.write(folder / str(number), fault), fault)

    with side_by_side(min(os.cpu_count() or 1, _WORKERS)) as pool:
        yield from pool.map(tried, planned)


def _trial(project: Path, fault: Fault | None) -> Trial:
    found = {gate: _judge(gate, project, f"selftest-{project.name}") for gate in GATES}
    return Trial(
        fault.name if fault else "",
        fault.gates if fault else frozenset(),
        {
            gate: f"{check.status}: {check.reason}"
            for gate, check in found.items()
            if check.status is not Status.PASS
        },
        {gate: tool_of(check.measurements) for gate, check in found.items()},
    )


def _judge(gate: str, project: Path, run_id: str) -> CheckResult:
    settings = project_table.Settings(
        tests_min=1,
        timeout_s=_TIMEOUT_S,
        audit_environment=faults.ENVIRONMENT,
        audit_database=faults.DATABASE,
    )
    profile = plan.choose(settings)
    context = runner.Context(
        project=project,
        state=project / ".preflight",
        run_id=run_id,
        profile=profile,
        settings=settings,
        model=profile.model,
        evidence=profile.evidence,
        budget_bytes=int(profile.budget_gb * 1e9),
        note=lambda _: None,
    )
    (check,) = runner.run_session(register.find_session(gate)[0], context).checks
    return check
