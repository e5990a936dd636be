"""Compare a run's tests with the recorded ones by name: a test that vanished proves nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import baseline
from mlx_preflight.json_file import read_json, write_text

SCHEMA = 1

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

COMMAND = "mlx-preflight baseline record tests"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Hold the tests of one gate as they were accepted.

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
        asleep = sorted(
            name
            for name, outcome in now.items()
            if outcome == SKIPPED and self.outcomes.get(name) == PASSED
        )
        return [
            *(f"{name} vanished" for name in gone),
            *(f"{name} is skipped, and passed when it was recorded" for name in asleep),
        ]


def read(project: Path, folder: str, gate: str) -> Recorded | None:
    """Return what is recorded for a test gate, or None when no baseline of tests exists.

    Raises:
        ResultError: The file is there and cannot be used.
    """
    path = baseline.path_of(project, folder, "tests")
    if not path.exists():
        return None
    try:
        gates = _parsed(read_json(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path}: damaged or of another schema: {error!r}",
            hint="restore it from git, or delete it and record it again",
        ) from error
    if gate not in gates:
        raise ResultError(f"{path}: holds no tests of {gate}", hint=f"`{COMMAND}`")
    return gates[gate]


def _parsed(document: dict[str, Any]) -> dict[str, Recorded]:
    if document["schema"] != SCHEMA or not isinstance(document["select"], str):
        raise ValueError(f"schema is not {SCHEMA}")
    gates = {}
    for gate, outcomes in document["gates"].items():
        if not outcomes or not set(outcomes.values()) <= {PASSED, SKIPPED}:
            raise ValueError(f"the outcomes of {gate}")
        gates[gate] = Recorded(document["select"], outcomes)
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
