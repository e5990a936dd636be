"""Cases of the sessions that read results of the same run, and of the self-test."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from mlx_preflight.core.result import (
    CheckResult,
    Evidence,
    Measurement,
    SessionResult,
    Status,
    write_result,
)
from mlx_preflight.plan import register as plan
from mlx_preflight.run.proof_record import Trial
from mlx_preflight.selftest import faults, proof, session
from mlx_preflight.selftest.injection.case import RUN_ID, Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import cut, remove, sample_fields, write

TESTS = (plan.GATE4_UNIT, plan.GATE5_INTEGRATION)
STATIC = (plan.GATE2_LINT, plan.GATE3_TYPES, plan.GATE6_COVERAGE)
SEEN = (
    Measurement("tests_passed", 12, "count", ">= 10"),
    Measurement("tests_skipped", 3, "count"),
    Measurement("duration_s", 1.5, "s"),
)
RESULTS = ".preflight/results/{}.json"


def result(name: str, *, run_id: str = RUN_ID, ids: tuple[str, ...] = (), **changes: Any) -> Step:
    """Return what writes a session's result, all PASS but for the changed fields.

    Args:
        name: The session.
        run_id: Run that it belongs to.
        ids: Ids of its checks; empty takes the register's.
        changes: Fields of every check.
    """

    def act(sample: Sample) -> None:
        found, _ = plan.find_session(name)
        given = {"measurements": SEEN, "status": Status.PASS, "reason": "seen", **changes}
        checks = tuple(
            CheckResult(check, found.title, evidence=Evidence.EMBEDDED, **given)
            for check in ids or tuple(check.id for check in found.checks)
        )
        known = {"fingerprint": "f" * 64}
        whole = SessionResult(
            *(found.id, found.title, checks, run_id, "2026-01-02T03:04:05+00:00", 1.0, "embedded"),
            model=known,
        )
        write_result(sample.context().results, whole)

    return act


def compared(name: str, check: str, gates: tuple[str, ...]) -> tuple[Case, ...]:
    """Return the cases of a session that compares gates."""
    kit = Kit(name, tuple(result(gate) for gate in gates))
    last = gates[-1]
    path = RESULTS.format(last)
    return (
        kit.clean("as it is"),
        kit.clean("a result beside them", result(plan.GATE1_FORMAT, status=Status.FAIL)),
        kit.clean("without a measurement", result(last, measurements=())),
        *(
            kit.defect(
                check, f"a gate that ended {status}", result(last, status=status), status=status
            )
            for status in (Status.FAIL, Status.ERROR, Status.BLOCKED)
        ),
        kit.defect(check, "a gate that did not run", remove(path), status=Status.BLOCKED),
        kit.defect(
            check, "a gate of another run", result(last, run_id="r0"), status=Status.BLOCKED
        ),
        kit.defect(check, "a result that is cut off", cut(path, 40), status=Status.BLOCKED),
        kit.defect(check, "a result of zeros", write(path, b"\0" * 900), status=Status.BLOCKED),
        kit.defect(
            check, "another check's result", result(last, ids=("GATE9",)), status=Status.ERROR
        ),
        kit.defect(
            check,
            "a check twice",
            result(last, ids=(plan.find_session(last)[0].checks[0].id,) * 2),
            status=Status.ERROR,
        ),
    )


def measured(name: str, value: float, unit: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of a check that measured one figure."""
    return {"measurements": (Measurement(name, value, unit, samples=(value, value)),), **changes}


def figures(name: str, check: str, source: str, figure: str, unit: str) -> tuple[Case, ...]:
    """Return the cases of a benchmark."""
    make = partial(measured, figure, unit=unit)
    kit = Kit(name, (result(source, **make(2.0)),))
    trend = ".preflight/benchmarks.jsonl"
    return (
        kit.clean("as it is"),
        kit.clean("far off the target", result(source, **make(1000.0))),
        kit.clean("an empty trend", write(trend, "")),
        kit.defect(check, "zero", result(source, **make(0.0)), status=Status.ERROR),
        kit.defect(check, "negative", result(source, **make(-5.0)), status=Status.ERROR),
        kit.defect(check, "no figure", result(source), status=Status.BLOCKED),
        kit.defect(check, "no result", remove(RESULTS.format(source)), status=Status.BLOCKED),
        kit.defect(
            check, "of another run", result(source, run_id="r0", **make(2.0)), status=Status.BLOCKED
        ),
        kit.defect(
            check,
            "of a check that failed",
            result(source, **make(2.0, status=Status.FAIL)),
            status=Status.BLOCKED,
        ),
        kit.defect(check, "a trend that is damaged", write(trend, "{\n"), status=Status.BLOCKED),
        kit.defect(
            check,
            "a trend without a value",
            write(trend, '{"run_id": "r0"}\n'),
            status=Status.BLOCKED,
        ),
    )


TOOLS = dict.fromkeys(proof.GATES, "tool 1.0")


def trials(**changed: frozenset[str]) -> session.Proof:
    """Return a proof in which every gate turned red as it should, but for some trials.

    Args:
        changed: `clean` or a fault's name → gates that turned red in it.
    """
    known = [("", frozenset[str]()), *((fault.name, fault.gates) for fault in faults.FAULTS)]
    return session.Proof(
        tuple(
            Trial(
                name, gates, dict.fromkeys(changed.get(name or "clean", gates), "FAIL: seen"), TOOLS
            )
            for name, gates in known
        )
    )


def proofs() -> tuple[Case, ...]:
    """Return two defects for each check of the self-test, and its clean neighbours."""
    kit = Kit(plan.SELFTEST, ())
    made = [
        kit.clean("as it is", sample_fields(facts=trials), answer=True),
        kit.clean(
            "another tool version",
            sample_fields(facts=lambda: _versions("tool 2.0")),
            answer=True,
        ),
    ]
    for check, gate in zip(plan.SELF, proof.GATES, strict=True):
        blind = {f.name: f.gates - {gate} for f in faults.FAULTS if gate in f.gates}
        made += [
            kit.defect(
                check, f"{gate} {name}", sample_fields(facts=partial(trials, **red)), answer=True
            )
            for name, red in (
                ("passes over its fault", blind),
                ("is red on the clean sample", {"clean": frozenset({gate})}),
            )
        ]
    return tuple(made)


def _versions(tool: str) -> session.Proof:
    found = [
        dataclasses.replace(trial, tools=dict.fromkeys(proof.GATES, tool))
        for trial in trials().trials
    ]
    return session.Proof(tuple(found))


CASES: tuple[Case, ...] = (
    *compared(plan.REGRESSION_TESTS, plan.REG1, TESTS),
    *compared(plan.REGRESSION_GATES, plan.REG2, STATIC),
    *figures(plan.BENCH_LOAD, plan.BENCH1, plan.AC4_LOADING, "warm_load_s", "s"),
    *figures(
        *(plan.BENCH_INFERENCE, plan.BENCH2, plan.AC5_INFERENCE),
        *("decode_tokens_per_s", "tokens/s"),
    ),
    *proofs(),
)
