"""The verdict: ready only when everything required is there, of this run, and PASS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status
from mlx_preflight.plan import profiles, register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan.profiles import Profile
from mlx_preflight.run import context
from mlx_preflight.run.verdict import Row, Verdict, judge

Run = dict[str, SessionResult | ResultError]
Maker = Callable[..., Run]

EMBEDDED = profiles.find_profile("embedded")
TARGET = profiles.find_profile("qwen2.5-coder-7b")


def judged(found: Run, group: str = "preflight", profile: Profile = EMBEDDED) -> Verdict:
    return judge(register.sessions(group), found, run_id="run-1", group=group, profile=profile)


def changed(found: Run, name: str, **fields: Any) -> Run:
    item = found[name]
    assert isinstance(item, SessionResult)
    return {**found, name: dataclasses.replace(item, **fields)}


def answered(found: Run, name: str, **fields: Any) -> Run:
    """Return the results with fields of a session's first check changed."""
    item = found[name]
    assert isinstance(item, SessionResult)
    first, *others = item.checks
    return changed(found, name, checks=(dataclasses.replace(first, **fields), *others))


def row(verdict: Verdict, name: str) -> Row:
    [found] = [item for item in verdict.rows if item.check.id == name]
    return found


def test_all_passed_is_ready(make_run: Maker) -> None:
    """With every required check of the whole plan PASS, the model is ready."""
    verdict = judged(make_run())
    assert (verdict.state, verdict.status) == ("ready_for_integrator", Status.PASS)
    assert verdict.exit_code == 0
    assert verdict.findings == ()
    assert verdict.counts == {"PASS": len(verdict.rows), "FAIL": 0, "ERROR": 0, "BLOCKED": 0}


def test_the_rows_are_the_register(make_run: Maker) -> None:
    """Whatever is on disk, the report shows every check once, in the plan's order."""
    ids = [check.id for session in register.sessions() for check in session.checks]
    runs: list[Run] = [make_run(), {}, {"gate2-lint": ResultError("torn")}]
    for found in runs:
        assert [item.check.id for item in judged(found).rows] == ids


def test_a_group_is_never_the_plan(make_run: Maker) -> None:
    """A green group is `partial`: it says nothing about the rest."""
    verdict = judged(make_run("gates"), "gates")
    assert (verdict.state, verdict.exit_code) == ("partial", 0)
    assert [row.session for row in verdict.rows] == [s.id for s in register.sessions("gates")]


def test_a_failed_group_needs_work(make_run: Maker) -> None:
    """A red gate is enough to know that the whole is not ready."""
    verdict = judged(answered(make_run("gates"), "gate2-lint", status=Status.FAIL), "gates")
    assert (verdict.state, verdict.exit_code) == ("needs_adapt", 1)


@pytest.mark.parametrize(
    ("status", "code"), [(Status.FAIL, 1), (Status.ERROR, 3), (Status.BLOCKED, 3)]
)
def test_one_check_that_is_not_pass_decides(make_run: Maker, status: Status, code: int) -> None:
    """FAIL exits 1, ERROR and BLOCKED exit 3, and none of them is ready."""
    verdict = judged(answered(make_run(), "ac6-memory", status=status, reason="seen"))
    assert (verdict.state, verdict.status, verdict.exit_code) == ("needs_adapt", status, code)
    assert [item.check.id for item in verdict.findings] == ["AC6.1"]


def test_benchmarks_are_shown_and_do_not_decide(make_run: Maker) -> None:
    """A row that is not required is a finding and leaves the verdict alone."""
    verdict = judged(answered(make_run(), "bench-load", status=Status.FAIL))
    assert (verdict.state, verdict.exit_code) == ("ready_for_integrator", 0)
    assert [(item.check.id, item.required) for item in verdict.findings] == [("BENCH1", False)]


def test_findings_come_in_the_order_of_their_weight(make_run: Maker) -> None:
    """Required before optional, then FAIL, ERROR, BLOCKED."""
    found = answered(make_run(), "bench-load", status=Status.FAIL)
    found = answered(found, "gate1-format", status=Status.BLOCKED)
    found = answered(found, "gate2-lint", status=Status.ERROR)
    found = answered(found, "ac8-dependencies", status=Status.FAIL)
    ids = [item.check.id for item in judged(found).findings]
    assert ids == ["AC8.1", "GATE2", "GATE1", "BENCH1"]


def test_nothing_ran() -> None:
    """Without a single result of the run the exit code is 4, and every row is ERROR."""
    verdict = judged({})
    assert (verdict.state, verdict.exit_code) == ("needs_adapt", 4)
    assert verdict.counts["ERROR"] == len(verdict.rows)


def test_results_of_another_run_are_nothing(make_run: Maker) -> None:
    """A folder full of green results of yesterday is nothing of today."""
    found = make_run()
    for name in found:
        found = changed(found, name, run_id="run-0")
    verdict = judged(found)
    assert verdict.exit_code == 4
    assert "is of run run-0, not of run-1" in verdict.rows[0].check.reason


def test_nothing_planned_is_no_pass(make_run: Maker) -> None:
    """An empty plan cannot be passed."""
    verdict = judge([], make_run(), run_id="run-1", group="preflight", profile=EMBEDDED)
    assert (verdict.state, verdict.status, verdict.exit_code) == ("needs_adapt", Status.ERROR, 4)


def spoilt(found: Run, name: str) -> dict[str, tuple[Run, str]]:
    """Return every way to spoil one session's result, with what the row then says."""
    item = found[name]
    assert isinstance(item, SessionResult)
    foreign = CheckResult("AC99.9", "<t>", Status.PASS, Evidence.STATIC, "x")
    return {
        "missing": ({k: v for k, v in found.items() if k != name}, "no result"),
        "unreadable": ({**found, name: ResultError("torn at byte 3")}, "torn at byte 3"),
        "stale": (changed(found, name, run_id="run-0"), "is of run run-0"),
        "profile": (changed(found, name, profile="custom"), "is for profile custom"),
        "model": (
            changed(found, name, model={**item.model, "requested": "./mine"}),
            "with model ./mine",
        ),
        "no model": (changed(found, name, model={}), "with model None"),
        "other id": (changed(found, name, id="gate9"), "is that of gate9"),
        "no checks": (changed(found, name, checks=()), "answered 0 times"),
        "no last check": (changed(found, name, checks=item.checks[:-1]), "answered 0 times"),
        "twice": (changed(found, name, checks=item.checks * 2), "answered 2 times"),
        "unknown": (
            changed(found, name, checks=(*item.checks, foreign)),
            "'AC99.9', which the plan does not have",
        ),
        "tier": (answered(found, name, evidence=Evidence.TARGET), "measured on a model of tier"),
        **{
            status.value: (answered(found, name, status=status, reason="odd"), "odd")
            for status in (Status.FAIL, Status.ERROR, Status.BLOCKED)
        },
    }


KINDS = sorted(
    [
        *("missing", "unreadable", "stale", "profile", "model", "no model", "other id"),
        *("no checks", "no last check", "twice", "unknown", "tier", "FAIL", "ERROR", "BLOCKED"),
    ]
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_result_is_an_error_that_says_why(make_run: Maker, kind: str) -> None:
    """Each kind of absence or mismatch is a finding of its own words with a remedy."""
    found, said = spoilt(make_run(), "ac4-loading")[kind]
    verdict = judged(found)
    assert verdict.state == "needs_adapt"
    assert verdict.exit_code == (1 if kind == "FAIL" else 3)
    reasons = [item.check.reason for item in verdict.findings]
    assert any(said in reason for reason in reasons)
    assert {item.session for item in verdict.findings} == {"ac4-loading"}
    if kind not in {"FAIL", "ERROR", "BLOCKED"}:
        assert all("nox -s preflight" in item.check.remedy for item in verdict.findings)
        assert {item.check.status for item in verdict.findings} == {Status.ERROR}


@given(
    st.sampled_from([item.id for item in register.sessions() if item.required]),
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from([item.id for item in register.sessions()]),
        st.sampled_from(KINDS),
        max_size=3,
    ),
)
@settings(deadline=None, max_examples=150)
def test_never_ready_with_anything_required_spoilt(
    make_run: Maker, name: str, kind: str, more: dict[str, str]
) -> None:
    """Removing or altering any required result, and any others with it, never exits 0."""
    found, _ = spoilt(make_run(), name)[kind]
    for session, other in more.items():
        if session != name:
            found, _ = spoilt(found, session)[other]
    verdict = judged(found)
    assert verdict.state == "needs_adapt"
    assert verdict.exit_code != 0
    ids = {item.check.id for item in verdict.rows}
    assert ids >= {check.id for session in register.sessions() for check in session.checks}


def test_a_model_swapped_during_the_run_is_an_error(make_run: Maker) -> None:
    """All results must be about the same files, byte for byte."""
    found = make_run()
    item = found["ac6-memory"]
    assert isinstance(item, SessionResult)
    found = changed(found, "ac6-memory", model={**item.model, "fingerprint": "e" * 64})
    verdict = judged(found)
    assert verdict.exit_code == 3
    assert "the model's files changed during the run" in row(verdict, "AC6.1").check.reason


def test_a_commit_during_the_run_is_an_error(make_run: Maker) -> None:
    """All results must be about the same commit; an unknown one contradicts none."""
    found = changed(make_run(), "gate1-format", git={"commit": None, "dirty": None})
    assert judged(found).exit_code == 0
    verdict = judged(changed(found, "gate3-types", git={"commit": "bad", "dirty": False}))
    assert verdict.exit_code == 3
    assert "commit changed during the run: c0ffee, then bad" in row(verdict, "GATE3").check.reason


def test_the_embedded_model_never_reads_as_another(make_run: Maker) -> None:
    """Results of the embedded model qualify no target, not even renamed ones."""
    verdict = judged(make_run(), profile=TARGET)
    assert verdict.exit_code == 3
    renamed = make_run()
    for name in renamed:
        renamed = changed(renamed, name, profile=TARGET.name, model={"requested": TARGET.model})
    assert judged(renamed, profile=TARGET).exit_code == 0
    verdict = judged(answered(renamed, "ac4-loading", evidence=Evidence.EMBEDDED), profile=TARGET)
    assert verdict.exit_code == 3
    assert "is judged on tier target" in row(verdict, "AC4.1").check.reason
    random = judged(answered(make_run(), "ac4-loading", evidence=Evidence.SYNTHETIC))
    assert "model of tier synthetic" in row(random, "AC4.1").check.reason


@pytest.mark.parametrize("evidence", [Evidence.STATIC, Evidence.SIMULATED])
def test_other_evidence_is_left_to_the_checks(make_run: Maker, evidence: Evidence) -> None:
    """Evidence that names no model is shown as it is."""
    assert judged(answered(make_run(), "ac6-memory", evidence=evidence)).exit_code == 0


def test_titles_are_the_registers(make_run: Maker) -> None:
    """A result cannot rename what it answers."""
    verdict = judged(answered(make_run(), "gate1-format", title="all is well"))
    assert row(verdict, "GATE1").check.title == register.sessions()[0].checks[0].title


def test_the_verdict_names_the_model_that_it_holds_for(make_run: Maker) -> None:
    """The embedded model's size is said, and that it says nothing about others."""
    said = judged(make_run()).holds_for
    assert "the embedded model" in said
    assert "0.92 M parameters" in said
    assert "says nothing about Qwen2.5-Coder-7B-Instruct" in said


def test_a_target_verdict_names_model_and_size() -> None:
    """A target's verdict names what was loaded, and no more."""
    assert judged({}, profile=TARGET).holds_for == (
        "Qwen2.5-Coder-7B-Instruct (Qwen/Qwen2.5-Coder-7B-Instruct) and no other model"
    )
    own = context.choose(project_table.ProjectSettings(), model="./mine")
    assert judged({}, profile=own).holds_for == "./mine and no other model"
