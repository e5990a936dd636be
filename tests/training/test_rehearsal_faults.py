"""Faults planted in a real installation: the first backward fails, and RUN6.1 names it.

`benchmarks/rehearsal_faults.py` plants all of them, each beside its clean neighbour.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from installation_faults import FAULTS, Fault
from rehearsal_faults import is_named, prepare, rehearse

from mlx_preflight.core.errors import BlockedError, InstallationError, PreflightError, or_error
from mlx_preflight.core.result import Status
from mlx_preflight.memory import adapters, installation
from mlx_preflight.memory.settings import Settings
from mlx_preflight.training import rehearsal, slice_plan, slice_runs
from mlx_preflight.training.memory import PeakFacts


def settings_of(fault: Fault, **changes: Any) -> Settings:
    """Return the settings of a run of a fault's model."""
    known = {"batch_size": 1, "max_seq_length": 33, "num_layers": 2, "backend": "cpu", **changes}
    return adapters.stored(fault.model, **known)


def rehearsed(fault: Fault) -> Any:
    """Return the rehearsal of a fault's model, or its error."""

    def start() -> Any:
        return slice_runs.rehearse(
            fault.model,
            settings_of(fault),
            [33],
            [],
            budget_bytes=10**10,
            note=lambda _: None,
            plan_s=60,
        )

    return or_error(start)


@pytest.mark.parametrize(
    "name",
    [
        "indices of quantized experts",
        "crash of the process",
        "scan without a gradient",
        "missing argument in training",
    ],
)
def test_a_fault_of_the_child_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exception, the pair of versions and what helps."""
    fault = FAULTS[name]
    planted = str(fault.plant(tmp_path / "planted"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([planted, os.environ.get("PYTHONPATH", "")]))
    error = rehearsed(fault)
    assert isinstance(error, PreflightError)
    facts = rehearsal.RehearsalFacts(error, cast("PeakFacts", None))
    found = rehearsal.run6_1(facts)
    row = {"status": found.status.value, "reason": found.reason, "remedy": found.remedy}
    assert is_named(fault, row), row
    with pytest.raises(BlockedError, match=r"RUN6\.1 fails"):
        rehearsal.run6_2(facts)


def test_a_fault_of_the_whole_installation_is_named(tmp_path: Path) -> None:
    """A model that mlx-lm has and cannot import is no unknown architecture."""
    fault = FAULTS["model file that cannot be imported"]
    prepare(fault, tmp_path / "run")
    found = rehearse(tmp_path / "run", fault.plant(tmp_path / "planted"))
    assert is_named(fault, found), found


def test_a_clean_hybrid_model_passes() -> None:
    """The third block of three is the first with attention, and nothing smaller runs."""
    fault = FAULTS["delta rule without a gradient"]
    run = settings_of(fault)
    found = slice_plan.scout(fault.model, run, 33, 10**10, 60, lambda _: None)
    assert found.step_s > 0


def test_what_a_run_leaves_frozen_is_not_scouted() -> None:
    """The gradient of a scan may be missing where only attention is trained."""
    fault = FAULTS["scan without a gradient"]
    model = {**fault.model, "layer_types": ["mamba", "mamba", "attention"]}
    assert [one.blocks for one in slice_plan.scouts(model, settings_of(fault, num_layers=1))] == [3]
    every = slice_plan.scouts(model, settings_of(fault, num_layers=3))
    assert [(one.blocks, one.adapted) for one in every] == [(1, 1), (2, 2), (3, 3)]


def test_an_installation_error_fails_the_check_once() -> None:
    """Its text has the versions already."""
    error = InstallationError(f"the trainer's loss fails: TypeError: x ({installation.pair()})")
    found = rehearsal.run6_1(rehearsal.RehearsalFacts(error, cast("PeakFacts", None)))
    assert found.status is Status.FAIL
    assert found.reason == str(error)
