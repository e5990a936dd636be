"""The self-test fails when a gate passes over its fault, or is red without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.plan import register, spec
from mlx_preflight.run import proof_record
from mlx_preflight.run.proof_record import Trial
from mlx_preflight.selftest import faults, proof, session
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_preflight.core.result import Outcome

CHECKS = register.find_session("selftest")[0].checks
JUDGES = [session.CHECKS[check.id] for check in CHECKS]
TOOLS = dict.fromkeys(proof.GATES, "tool 1.0")


def caught(fault: faults.Fault, *, red: frozenset[str] | None = None) -> Trial:
    """Return a trial in which the given gates, or those that should, turned red."""
    seen = fault.gates if red is None else red
    return Trial(fault.name, fault.gates, dict.fromkeys(seen, "FAIL: seen"), TOOLS)


CLEAN = Trial("", frozenset(), {}, TOOLS)
GOOD = (CLEAN, *(caught(fault) for fault in faults.FAULTS))


def judged(trials: tuple[Trial, ...]) -> list[Outcome]:
    """Return the outcome of every gate."""
    return [judge(session.Proof(trials)) for judge in JUDGES]


def test_every_gate_has_a_fault_of_its_own() -> None:
    """Each gate has a row, and no proof rests on a fault that another gate finds, too."""
    assert len(CHECKS) == len(proof.GATES)
    for gate in proof.GATES:
        assert any(fault.gates == {gate} for fault in faults.FAULTS), gate


def test_all_caught_and_no_alarm_passes() -> None:
    """The gates that turned red are exactly those that should."""
    assert {outcome.status for outcome in judged(GOOD)} == {Status.PASS}


@pytest.mark.parametrize("number", range(len(CHECKS)))
def test_a_gate_that_cannot_fail_is_found(number: int) -> None:
    """A gate that passes over its fault fails its own check, and no other's."""
    gate = proof.GATES[number]
    trials = (CLEAN, *(caught(f, red=f.gates - {gate}) for f in faults.FAULTS))
    statuses = [outcome.status for outcome in judged(trials)]
    assert statuses[number] is Status.FAIL
    assert statuses.count(Status.FAIL) == 1


@pytest.mark.parametrize("number", range(len(CHECKS)))
def test_a_gate_that_is_always_red_is_found(number: int) -> None:
    """A red gate on the clean sample proves nothing by being red on a fault."""
    gate = proof.GATES[number]
    outcome = judged((Trial("", frozenset(), {gate: "FAIL: x"}, TOOLS), *GOOD[1:]))[number]
    assert outcome.status is Status.FAIL
    assert "clean sample" in outcome.reason


def test_no_fault_is_no_proof() -> None:
    """A gate for which nothing was planted is ERROR."""
    assert {outcome.status for outcome in judged((CLEAN,))} == {Status.ERROR}


def test_a_result_says_when_its_gate_was_proved(tmp_path: Path) -> None:
    """Date and tool version stand in the gate's result; another version was never proved."""
    gate = proof.GATES[0]
    assert proof_record.selftest_note(tmp_path, gate, "tool 1.0") == "never"
    proof_record.write(tmp_path, proof.GATES, GOOD)
    assert proof_record.selftest_note(tmp_path, gate, "tool 1.0").startswith("passed 20")
    assert proof_record.selftest_note(tmp_path, gate, "tool 1.0").endswith("2 faults caught")
    assert proof_record.selftest_note(tmp_path, gate, "tool 2.0").endswith("never with tool 2.0")
    proof_record.write(tmp_path, proof.GATES, (CLEAN, caught(faults.FAULTS[0], red=frozenset())))
    assert proof_record.selftest_note(tmp_path, gate, "tool 1.0").startswith("failed 20")


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"gates": {}, "date": "x"})])
def test_a_damaged_record_proves_nothing(tmp_path: Path, text: str) -> None:
    """What cannot be read is unknown, never passed."""
    (tmp_path / "selftest.json").write_text(text)
    assert (
        proof_record.selftest_note(tmp_path, proof.GATES[0], "t")
        == "unknown: the record is damaged"
    )


@pytest.mark.slow
def test_gates_carry_their_proof(tmp_path: Path) -> None:
    """A gate's own result file holds the date of the proof."""
    project = sample.make(tmp_path)
    assert sample.value(sample.run(project, "gate2-lint"), "self_test") == "never"


@pytest.mark.slow
def test_the_real_gates_fail_for_real_faults(tmp_path: Path) -> None:
    """Every planted fault turns exactly its gates red, with the tools of this venv."""
    notes: list[str] = []
    done = tuple(proof.trials(tmp_path, tmp_path / "environments", notes.append))
    assert len(notes) == len(faults.FAULTS) + 1
    wrong: list[Any] = [(t.fault, t.missed, {g: t.red[g] for g in t.alarms}) for t in done]
    assert [item for item in wrong if item[1] or item[2]] == []
    covered = next(trial for trial in done if "84.60" in trial.fault)
    assert "84.6 %" in covered.red["gate6-coverage"]


def test_the_session_is_a_group_of_its_own() -> None:
    """`nox -s selftest` runs it, and the default plan does not."""
    assert spec.GROUPS["selftest"] == ("selftest",)
