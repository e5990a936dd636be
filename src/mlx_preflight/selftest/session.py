"""The self-test: one check per gate, each planted fault caught and nothing else red."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run import proof_record
from mlx_preflight.run.context import Context
from mlx_preflight.run.proof_record import Trial
from mlx_preflight.selftest import proof


@dataclass(frozen=True, slots=True)
class Proof:
    """Every run of the gates on the sample."""

    trials: tuple[Trial, ...]


def gather(session: Session, context: Context) -> Proof:
    """Run all gates on the clean sample and on every fault, and record the dates.

    Raises:
        ResultError: The record cannot be written.
    """
    kept = context.scratch(session.id) / "environments"
    with tempfile.TemporaryDirectory(prefix="preflight-selftest-") as folder:
        done = tuple(proof.trials(Path(folder), kept, context.note))
    proof_record.write(context.state, proof.GATES, done)
    return Proof(done)


def _judge(facts: Proof, gate: str) -> Outcome:
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


CHECKS: dict[str, Callable[[Proof], Outcome]] = {
    check: partial(_judge, gate=gate)
    for check, gate in zip(register.SELF, proof.GATES, strict=True)
}
"""One check per gate: a new gate has one with its row."""
