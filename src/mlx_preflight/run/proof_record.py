"""Record of when each gate last failed as it should, shown beside its result."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import Measurement
from mlx_preflight.core.workspace import Workspace

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of all gates on a project with or without a fault.

    Attributes:
        fault: Name of what was planted; empty for the clean project.
        wanted: Gates that must not pass.
        red: Gate → status and reason, of those that did not pass.
        tools: Gate → tool and version that judged.
    """

    fault: str
    wanted: frozenset[str]
    red: dict[str, str]
    tools: dict[str, str]

    @property
    def missed(self) -> list[str]:
        """Return the gates that passed over the fault."""
        return sorted(self.wanted - set(self.red))

    @property
    def alarms(self) -> list[str]:
        """Return the gates that were red without a cause."""
        return sorted(set(self.red) - self.wanted)


def recorded_tool(measurements: Iterable[Measurement]) -> str:
    """Return tool and version that a gate recorded, or an empty text."""
    return next((str(item.value) for item in measurements if item.name == "tool"), "")


def write(state: Path, gates: Sequence[str], done: Sequence[Trial]) -> None:
    """Record the trials in a project's state folder, with the date of each gate's proof.

    Raises:
        ResultError: The folder cannot be written.
    """
    today = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    document = {
        "schema": SCHEMA,
        "date": today,
        "gates": {
            gate: {
                "tool": next((trial.tools[gate] for trial in done if trial.tools[gate]), ""),
                "caught": [t.fault for t in done if gate in t.wanted and gate in t.red],
                "missed": [t.fault for t in done if gate in t.missed],
                "false_alarms": [t.fault or "clean" for t in done if gate in t.alarms],
            }
            for gate in gates
        },
        "trials": [{**dataclasses.asdict(trial), "wanted": sorted(trial.wanted)} for trial in done],
    }
    write_json(Workspace(state).selftest, document)


def selftest_note(state: Path, gate: str, tool: str) -> str:
    """Return the result of a gate's last self-test, for the gate's own result."""
    if not (Workspace(state).selftest).exists():
        return "never"
    try:
        document: dict[str, Any] = read_json(Workspace(state).selftest)
        found = document["gates"][gate]
        date, proved = str(document["date"]), str(found["tool"])
        caught, wrong = len(found["caught"]), len(found["missed"]) + len(found["false_alarms"])
    except (ResultError, KeyError, TypeError):
        return "unknown: the record is damaged"
    if wrong:
        return f"failed {date} with {proved}"
    if proved != tool:
        return f"passed {date} with {proved}, never with {tool}"
    return f"passed {date} with {proved}, {caught} faults caught"
