"""Judge the self-test: one check per gate, each planted fault caught and nothing else red."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context
from mlx_preflight.selftest import proof, record
from mlx_preflight.selftest.record import Trial


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold every run of the gates on the sample."""

    trials: tuple[Trial, ...]


def gather(_session: Session, context: Context) -> Facts:
    """Run all gates on the clean sample and on every fault, and record the dates.

    Raises:
        ResultError: The record cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="preflight-selftest-") as folder:
        done = tuple(proof.trials(Path(folder), context.note))
    record.write(context.state, proof.GATES, done)
    return Facts(done)


def _judge(facts: Facts, gate: str) -> Outcome:
    mine = [trial for trial in facts.trials if gate in trial.wanted]
    missed = [trial.fault for trial in mine if gate in trial.missed]
    alarms = [trial for trial in facts.trials if gate in trial.alarms]
    tool = next((trial.tools[gate] for trial in facts.trials if trial.tools[gate]), "no tool")
    measured = (
        Measurement("faults_planted", len(mine), "count", ">= 1"),
        Measurement("faults_missed", len(missed), "count", "<= 0"),
        Measurement("false_alarms", len(alarms), "count", "<= 0"),
        Measurement("tool", tool, "text"),
    )
    if not mine:
        return Outcome(Status.ERROR, f"no fault is planted for {gate}", measurements=measured)
    if alarms:
        first = alarms[0]
        where = f"with {first.fault}" if first.fault else "on the clean sample"
        reason = f"{gate} is red {where}: {first.red[gate]}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    if missed:
        reason = f"{gate} passes over {'; '.join(missed)}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    names = "; ".join(trial.fault for trial in mine)
    reason = f"{gate} ({tool}) turns red for {names}, and for nothing else"
    return Outcome(Status.PASS, reason, measurements=measured)


def __getattr__(name: str) -> Callable[[Facts], Outcome]:
    """Return the check of one gate, such as `self_1`: a new gate has one with its row."""
    for number, gate in enumerate(proof.GATES, 1):
        if name == f"self_{number}":
            return partial(_judge, gate=gate)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
