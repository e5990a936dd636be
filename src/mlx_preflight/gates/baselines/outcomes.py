"""Recorded test outcomes, compared by name: a test that vanished proves nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.gates.baselines import baseline

SCHEMA = 1

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

COMMAND = "mlx-preflight baseline record tests"


@dataclass(frozen=True, slots=True)
class RecordedTests:
    """Tests of one gate as they were accepted.

    Attributes:
        select: The project's `tests-select` then.
        outcomes: Test name → `passed` or `skipped`.
    """

    select: str
    outcomes: Mapping[str, str]

    def findings(self, select: str, now: Mapping[str, str]) -> list[str]:
        """Return what the run lacks against this, one text each.

        Raises:
            ResultError: Another selection of tests was recorded.
        """
        if select != self.select:
            raise ResultError(
                f"the tests baseline was recorded with tests-select = {self.select!r}, "
                f"and it is {select!r} now",
                hint=f"`{COMMAND}`",
            )
        gone = sorted(set(self.outcomes) - set(now))
        newly_skipped = sorted(
            name
            for name, outcome in now.items()
            if outcome == SKIPPED and self.outcomes.get(name) == PASSED
        )
        return [
            *(f"{name} vanished" for name in gone),
            *(f"{name} is skipped, and passed when it was recorded" for name in newly_skipped),
        ]


def read(project: Path, folder: str, gate: str) -> RecordedTests | None:
    """Return what is recorded for a test gate, or None when no baseline of tests exists.

    Raises:
        ResultError: The file is there and cannot be used.
    """
    path = baseline.locate(project, folder, "tests")
    if not path.exists():
        return None
    gates = baseline.read_document(path, _parsed)
    if gate not in gates:
        raise ResultError(f"{path}: holds no tests of {gate}", hint=f"`{COMMAND}`")
    return gates[gate]


def _parsed(document: dict[str, Any]) -> dict[str, RecordedTests]:
    if document["schema"] != SCHEMA or not isinstance(document["select"], str):
        raise ValueError(f"schema is not {SCHEMA}")
    gates = {}
    for gate, outcomes in document["gates"].items():
        if not outcomes or not set(outcomes.values()) <= {PASSED, SKIPPED}:
            raise ValueError(f"the outcomes of {gate}")
        gates[gate] = RecordedTests(document["select"], outcomes)
    return gates


def write(path: Path, select: str, gates: Mapping[str, Mapping[str, str]]) -> None:
    """Write the accepted outcomes sorted, one test a line.

    Raises:
        UsageError: This runs in CI.
        ResultError: The file cannot be written.
    """
    baseline.refuse_in_ci()
    document = {"schema": SCHEMA, "select": select, "gates": gates}
    write_text(path, json.dumps(document, sort_keys=True, indent=1) + "\n")
