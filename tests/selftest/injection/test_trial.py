"""A case is counted as it ended, and what a worker leaves behind is found."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import CheckResult, Evidence, Status
from mlx_preflight.plan import register
from mlx_preflight.selftest import session
from mlx_preflight.selftest.injection import catalogue, figures, harness, kills, known, pool, trial
from mlx_preflight.selftest.injection.case import ALL, Case, Kit, Sample
from mlx_preflight.selftest.injection.steps import edit, write

ROOT = Path(__file__).resolve().parents[3]
RESULT = json.loads((ROOT / "benchmarks/results/faults.json").read_text(encoding="utf-8"))
KIT = Kit(register.AC7_GUIDE, ())
PART = register.REGRESSION_TESTS


def ended(**statuses: Status) -> dict[str, CheckResult]:
    """Return results of AC7.1 to AC7.3, all PASS but for some."""
    return {
        f"AC7.{n}": CheckResult(
            f"AC7.{n}", "x", statuses.get(f"c{n}", Status.PASS), Evidence.STATIC, "seen"
        )
        for n in (1, 2, 3)
    }


DEFECT = KIT.defect("AC7.1", "x")


@pytest.mark.parametrize(
    ("case", "results", "outcome"),
    [
        (DEFECT, {}, trial.MISSED),
        (DEFECT, {"c1": Status.FAIL}, trial.CAUGHT),
        (DEFECT, {"c1": Status.ERROR}, trial.ELSEWHERE),
        (DEFECT, {"c1": Status.FAIL, "c2": Status.FAIL}, trial.ELSEWHERE),
        (DEFECT, {"c2": Status.FAIL}, trial.ELSEWHERE),
        (KIT.defect("AC7.1", "x", along=["AC7.2"]), {"c2": Status.FAIL}, trial.ELSEWHERE),
        (
            KIT.defect("AC7.1", "x", along=["AC7.2"]),
            {"c1": Status.FAIL, "c2": Status.FAIL},
            trial.CAUGHT,
        ),
        (
            KIT.defect("AC7.1", "x", along=[ALL]),
            {"c1": Status.FAIL, "c3": Status.ERROR},
            trial.CAUGHT,
        ),
        (
            KIT.defect("AC7.1", "x", blocks=True),
            {"c1": Status.FAIL, "c3": Status.BLOCKED},
            trial.CAUGHT,
        ),
        (
            KIT.defect("AC7.1", "x", blocks=True),
            {"c1": Status.FAIL, "c3": Status.ERROR},
            trial.ELSEWHERE,
        ),
        (KIT.clean("x"), {}, trial.CLEAN),
        (KIT.clean("x"), {"c3": Status.BLOCKED}, trial.ALARM),
    ],
)
def test_an_end_is_called_by_its_name(case: Case, results: Any, outcome: str) -> None:
    """Exactly the named check, in the named status, and its stated consequences alone."""
    assert trial.outcome(case, ended(**results)) == outcome


def test_no_result_is_no_success() -> None:
    """A session that answered nothing has neither caught nor passed anything."""
    assert trial.outcome(KIT.clean("x"), {}) == trial.ALARM
    assert trial.outcome(DEFECT, {}) == trial.MISSED


def test_a_defect_that_cannot_be_planted_is_no_catch(tmp_path: Path) -> None:
    """A passage that is gone leaves the sample as it was."""
    case = KIT.defect("AC7.1", "x", write("a.md", "one"), edit("a.md", "two", "three"))
    found = trial.run(case, tmp_path / "a", tmp_path / "kept")
    assert found.outcome == trial.UNPLANTED
    assert "is there 0 times" in found.red["AC7.1"]


@pytest.mark.parametrize("name", ["a dead link", "as it is"])
def test_a_case_is_judged_by_its_session(tmp_path: Path, name: str) -> None:
    """The real session judges the real document; the sample is gone afterwards."""
    (case,) = (case for case in catalogue.cases(register.AC7_GUIDE) if case.name == name)
    found = trial.run(case, tmp_path / "a", tmp_path / "kept")
    assert found.outcome == (trial.CAUGHT if case.check else trial.CLEAN), found.red
    assert not (tmp_path / "a").exists()


def test_an_answer_is_changed_for_one_case_alone(tmp_path: Path) -> None:
    """What replaces a session's facts is taken back."""
    case = next(case for case in catalogue.cases(register.SELFTEST) if case.check)
    before = session.gather
    assert trial.run(case, tmp_path / "a", tmp_path).outcome == trial.CAUGHT
    assert session.gather is before


def test_what_a_worker_leaves_behind_is_found_and_ended() -> None:
    """By the mark that it inherited, although its parent is gone."""
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(60)'], start_new_session=True, stdout=-3, stderr=-3)"
    )
    env = {**os.environ, pool.MARK: "a1b2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=30)
    assert len(pool.end_marked("a1b2")) == 1
    assert pool.end_marked("0000") == []


def test_tracebacks_are_counted_by_their_last_line() -> None:
    """Also several, and from either stream."""
    text = "Traceback (most recent call last)\n  File x\nValueError: no\n"
    done = ChildRun(("python",), 0, text, f"note\n{text}", 0.1, truncated=False)
    assert pool.tracebacks(done) == ["ValueError: no"] * 2
    assert pool.tracebacks(dataclasses.replace(done, stdout="", stderr="")) == []


@pytest.mark.slow
def test_a_worker_that_dies_loses_one_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case in hand died; all others of its batch are judged by another worker."""
    case = catalogue.cases(register.REGRESSION_TESTS)[0]
    batch = pool.Batch("regression-tests", (dataclasses.replace(case, name="no such case"), case))
    found = pool._judged(batch, tmp_path, threading.Event())
    assert [item.outcome for item in found.trials] == [trial.DIED, trial.CLEAN]
    assert "KeyError" in found.tracebacks[register.REGRESSION_TESTS][0]


def test_after_an_interrupt_no_worker_starts(tmp_path: Path) -> None:
    """Ctrl-C kills the workers; none takes their place."""
    stop = threading.Event()
    stop.set()
    batch = pool.Batch("regression-tests", catalogue.cases(register.REGRESSION_TESTS))
    assert pool._judged(batch, tmp_path, stop).trials == []


@pytest.mark.slow
def test_the_part_of_a_session_runs_alone(tmp_path: Path) -> None:
    """`selftest --all --session` plants its cases, writes the result, and exits by it."""
    out = tmp_path / "faults.json"
    words = ["selftest", "--all", "--session", "regression-tests", "--output", str(out)]
    done = CliRunner().invoke(app, words)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert done.exit_code == 0, done.output
    assert found["figures"]["missed"] == found["figures"]["false_alarms"] == 0
    assert found["figures"]["planted"] >= 8
    assert [row["check"] for row in found["checks"]] == ["REG1"]


def test_a_part_replaces_its_sessions_in_the_record() -> None:
    """Other sessions stay as they were; a case that is gone leaves."""
    part = {
        **RESULT,
        "sessions": {PART: {**RESULT["sessions"][PART], "seconds": 7.0}},
        "cases": [
            {**item, "outcome": trial.MISSED} for item in RESULT["cases"] if item["session"] == PART
        ],
        "kills": None,
    }
    gone = {**RESULT["cases"][0], "case": "gate1-format: no such case"}
    found = figures.merged({**RESULT, "cases": [*RESULT["cases"], gone]}, part)
    assert [item["case"] for item in found["cases"]] == [item["case"] for item in RESULT["cases"]]
    assert {item["outcome"] for item in found["cases"] if item["session"] == PART} == {"missed"}
    assert found["sessions"][PART]["seconds"] == 7.0
    assert found["kills"] == RESULT["kills"]


@pytest.mark.slow
def test_a_killed_run_loses_nothing(tmp_path: Path) -> None:
    """Six kills, and the results that were there before are there afterwards."""
    found = kills.run(6, tmp_path, 2, lambda _: None)
    assert (found["kills"], found["lost"]) == (6, [])
    assert sum(found["ends"].values()) == 6


def test_options_of_all_need_all() -> None:
    """A part of the old self-test does not exist."""
    done = CliRunner().invoke(app, ["selftest", "--session", "e2e"])
    assert "need --all" in str(done.exception)


@pytest.mark.parametrize("session", RESULT["sessions"])
def test_a_session_is_recorded_whole(session: str) -> None:
    """A new case, or one that is gone, needs a new record: `nox -s faults -- --session …`."""
    recorded = [item["case"] for item in RESULT["cases"] if item["session"] == session]
    assert recorded == [case.id for case in harness.chosen([session])]


def test_the_record_is_good_but_for_what_is_known() -> None:
    """A case that did not end well says why, and nothing else is wrong."""
    bad = {
        item["case"]: item["outcome"] for item in RESULT["cases"] if item["outcome"] in figures.BAD
    }
    assert {name: bad[name] for name in bad if name not in known.OPEN} == {}
    recorded = {item["case"] for item in RESULT["cases"]}
    assert {name for name in known.OPEN if name not in {c.id for c in catalogue.cases()}} == set()
    assert sorted(set(known.OPEN) & recorded - set(bad)) == [], "they end well: no longer open"
    sessions = RESULT["sessions"].values()
    assert [item for item in sessions if item["tracebacks"] or item["orphans"]] == []
    assert RESULT["kills"] is None or RESULT["kills"]["lost"] == []


def test_the_page_is_that_of_the_record() -> None:
    """docs/faults.md is written by its script, never by hand."""
    script = runpy.run_path(str(ROOT / "scripts" / "document_faults.py"))
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == script["page"](RESULT)


def test_a_sample_keeps_its_own_settings(tmp_path: Path) -> None:
    """No case sees what another one set."""
    Sample(tmp_path, tmp_path).settings["tests_min"] = 3
    assert Sample(tmp_path, tmp_path).settings == {}
