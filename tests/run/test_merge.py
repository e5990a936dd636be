"""Joining the results of CI jobs: nothing is ignored, and nothing foreign passes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import SessionResult, Status, write_result
from mlx_preflight.core.workspace import REPORTS
from mlx_preflight.plan import register
from mlx_preflight.report import terminal, write
from mlx_preflight.run import merge

Maker = Callable[..., dict[str, SessionResult]]

GATES = [item.id for item in register.sessions("gates")]
PLANNED = json.dumps(GATES)
HOSTILE = (
    "</script><img src=x onerror=alert(1)> [a](https://evil.example) @all ]]> & \" '"
    " \x1b[31m \x9b2J \x00 \ud800 \u202e `x` | \r\n# heading"
)


@dataclasses.dataclass
class Jobs:
    """Hold a folder of results as two jobs left them, and the project beside it."""

    folder: Path
    project: Path

    def save(self, results: dict[str, SessionResult], job: str = "") -> None:
        for number, item in enumerate(results.values()):
            write_result(self.folder / (job or f"job-{number % 2}"), item)

    def judged(self, planned: str = PLANNED) -> tuple[int, dict[str, Any]]:
        judged = merge.merge([self.folder], planned, "run-1", self.project)
        report = write.write_reports(self.project / ".preflight", judged)
        assert all((self.project / ".preflight" / name).is_file() for name in REPORTS)
        return judged.verdict.exit_code, report

    def refused(self) -> list[str]:
        """Return the reasons of the refused files; the verdict must fail for them."""
        code, report = self.judged()
        assert code != 0
        assert report["verdict"] == "needs_adapt"
        rows = [row for row in report["findings"] if row["session"] == "merge"]
        assert all(row["status"] == "ERROR" and row["required"] for row in rows)
        return [row["reason"] for row in rows]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "project").mkdir()
    return Jobs(tmp_path / "jobs", tmp_path / "project")


def test_whole_results_of_two_jobs_pass(jobs: Jobs, make_run: Maker) -> None:
    """Every planned session left one result of this run: the group passes."""
    jobs.save(make_run("gates"))
    code, report = jobs.judged()
    assert (code, report["verdict"], report["group"]) == (0, "partial", "gates")
    assert [item["id"] for item in report["planned"]] == GATES
    assert report["git"]["commit"] == "c0ffee"


def test_the_whole_plan_is_ready(jobs: Jobs, make_run: Maker) -> None:
    """The list of every session is the group that makes a model ready."""
    jobs.save(make_run())
    planned = json.dumps([item.id for item in register.sessions()])
    assert jobs.judged(planned)[1]["verdict"] == "ready_for_integrator"


def test_a_failure_in_a_job_fails(jobs: Jobs, make_run: Maker) -> None:
    """The verdict is that of the results."""
    results = make_run("gates")
    [check] = results["gate2-lint"].checks
    failed = dataclasses.replace(check, status=Status.FAIL)
    results["gate2-lint"] = dataclasses.replace(results["gate2-lint"], checks=(failed,))
    jobs.save(results)
    assert jobs.judged()[0] == 1


def test_a_planned_session_without_a_file_fails(jobs: Jobs, make_run: Maker) -> None:
    """A job that left nothing is an ERROR row that says so."""
    results = make_run("gates")
    del results["gate4-unit"]
    jobs.save(results)
    code, report = jobs.judged()
    [finding] = report["findings"]
    assert (code, finding["id"], finding["status"]) == (3, "GATE4", "ERROR")
    assert "no result" in finding["reason"]


@pytest.mark.parametrize("exists", [True, False])
def test_no_file_at_all_is_nothing_ran(jobs: Jobs, exists: bool) -> None:
    """An empty or missing folder ends with 4 and a report full of errors."""
    if not exists:
        jobs.folder.rmdir()
    code, report = jobs.judged()
    assert code == 4
    assert report["counts"]["PASS"] == 0
    assert any(row["session"] == "merge" for row in report["rows"]) is not exists


def test_the_same_result_twice_counts_once(jobs: Jobs, make_run: Maker) -> None:
    """A file that was uploaded by two jobs is no contradiction."""
    results = make_run("gates")
    jobs.save(results, "a")
    jobs.save(results, "b")
    code, report = jobs.judged()
    assert (code, len(report["rows"])) == (0, len(GATES))


def test_different_results_of_a_session_are_both_refused(jobs: Jobs, make_run: Maker) -> None:
    """Neither of two answers is believed, whichever passed."""
    results = make_run("gates")
    jobs.save(results, "a")
    other = dataclasses.replace(results["gate4-unit"], duration_s=9.0)
    jobs.save({"gate4-unit": other}, "b")
    [reason] = jobs.refused()
    assert (
        reason == "jobs/a/gate4-unit.json and jobs/b/gate4-unit.json: 2 files of gate4-unit differ"
    )
    _, report = jobs.judged()
    assert "gate4-unit" not in report["sessions"]
    assert {row["id"] for row in report["findings"]} == {"GATE4", "MERGE.1"}


@pytest.mark.parametrize("beside_a_good_one", [True, False])
def test_a_result_of_another_run_is_refused(
    jobs: Jobs, make_run: Maker, beside_a_good_one: bool
) -> None:
    """A green file of yesterday fails the run, also where today's lies beside it."""
    results = make_run("gates")
    stale = dataclasses.replace(results["gate4-unit"], run_id="run-0")
    if not beside_a_good_one:
        del results["gate4-unit"]
    jobs.save(results, "a")
    jobs.save({"gate4-unit": stale}, "b")
    assert jobs.refused() == ["jobs/b/gate4-unit.json: of run run-0, not of run-1"]
    _, report = jobs.judged()
    assert ("gate4-unit" in report["sessions"]) is beside_a_good_one
    assert (report["stale"] == ["gate4-unit"]) is not beside_a_good_one


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 9}', b'{"schema": 1}', b"[" * 100_000),
        b'{"schema": ' + b"9" * 5000 + b"}",
        b" " * 8_000_001,
    ],
    ids=["empty", "torn", "list", "binary", "schema", "incomplete", "deep", "digits", "huge"],
)
@pytest.mark.parametrize("beside_a_good_one", [True, False])
def test_a_corrupt_file_is_refused(
    jobs: Jobs, make_run: Maker, raw: bytes, beside_a_good_one: bool
) -> None:
    """Torn, deep, oversized or foreign files are named with the reason, never a crash."""
    results = make_run("gates")
    if not beside_a_good_one:
        del results["gate4-unit"]
    jobs.save(results, "a")
    (jobs.folder / "b").mkdir()
    (jobs.folder / "b" / "gate4-unit.json").write_bytes(raw)
    [reason] = jobs.refused()
    assert reason.startswith("jobs/b/gate4-unit.json: ")
    assert len(reason) <= merge.MAX_REASON


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("duration_s", 10**400),
        ("environment", {"memory_bytes": 10**299, "packages": {"x": HOSTILE}}),
        ("environment", {"packages": ["mlx"], HOSTILE: HOSTILE}),
        ("model", {"requested": HOSTILE, "parameters": 10**299}),
        ("git", {"commit": HOSTILE, "dirty": HOSTILE}),
        ("started", HOSTILE),
        ("profile", HOSTILE),
        ("run_id", HOSTILE),
    ],
)
def test_odd_values_never_crash_the_merge(
    jobs: Jobs, make_run: Maker, key: str, value: object
) -> None:
    """What the schema leaves open may hold anything, and every report is written."""
    jobs.save(make_run("gates"), "a")
    for path in (jobs.folder / "a").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), key: value}), "utf-8")
    jobs.judged()
    harmless(jobs.project / ".preflight")


def test_what_is_no_result_file_is_refused(jobs: Jobs, make_run: Maker, tmp_path: Path) -> None:
    """Other files, links, pipes and results beyond the plan fail the run, each by name."""
    jobs.save(make_run("gates"), "a")
    write_result(tmp_path / "outside", make_run("gates")["gate4-unit"])
    beyond = make_run("ac")["ac4-loading"]
    jobs.save({"x": beyond}, "b")
    (jobs.folder / "b" / "notes.txt").write_text("x")
    (jobs.folder / "b" / "gate1-format.json").symlink_to("/etc/passwd")
    (jobs.folder / "b" / "folder.json").mkdir()
    (jobs.folder / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(jobs.folder / "b" / "gate2-lint.json")
    write_result(jobs.folder / "c", make_run("gates")["gate3-types"])
    (jobs.folder / "c" / "gate3-types.json").rename(jobs.folder / "c" / "gate5-x.json")
    assert jobs.refused() == [
        "jobs/linked: not a regular file",
        "jobs/b/ac4-loading.json: the planned list does not name its session",
        "jobs/b/gate1-format.json: not a regular file",
        "jobs/b/gate2-lint.json: not a regular file",
        "jobs/b/notes.txt: not a result file: its name does not end in .json",
        "jobs/c/gate5-x.json: gate5-x.json: holds the result of 'gate3-types'",
    ]


def test_a_flood_of_files_is_cut_and_said(
    jobs: Jobs, make_run: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the number of files nor that of the refused ones is unbounded, or hidden."""
    monkeypatch.setattr(merge, "MAX_FILES", 20)
    monkeypatch.setattr(merge, "MAX_REFUSED", 3)
    jobs.save(make_run("gates"), "a")
    for number in range(30):
        (jobs.folder / f"z{number:02}.txt").touch()
    reasons = jobs.refused()
    assert len(reasons) == 4
    assert reasons[-1] == "18 more files are refused"


def test_a_folder_that_cannot_be_read_is_refused(
    jobs: Jobs, make_run: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable folder may hold a failure, so it fails the run."""
    jobs.save(make_run("gates"), "a")
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # A folder without permissions is readable to root, so the system call itself answers.
    monkeypatch.setattr(os, "scandir", scandir)
    [reason] = jobs.refused()
    assert reason.endswith("not read, and none after it: Permission denied")


def test_hostile_text_is_harmless_everywhere(
    jobs: Jobs, make_run: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, reasons and findings of a stranger are text in every report and on the screen."""
    results = make_run("gates")
    [check] = results["gate2-lint"].checks
    place = Diagnostic("ruff", HOSTILE, HOSTILE, HOSTILE, 1, 1)
    failed = dataclasses.replace(
        check, status=Status.FAIL, reason=HOSTILE, remedy=HOSTILE, diagnostics=(place,)
    )
    results["gate2-lint"] = dataclasses.replace(results["gate2-lint"], checks=(failed,))
    jobs.save(results, "a")
    name = "\x1b[2J<img src=x>[a](b)\u202e\n# x.json"
    (jobs.folder / name).write_text(json.dumps({HOSTILE: 1}))
    (jobs.folder / os.fsdecode(b"\xff.json")).write_text("{}")
    reasons = jobs.refused()
    assert len(reasons) == 2
    state = jobs.project / ".preflight"
    harmless(state)
    terminal.show_report(jobs.judged()[1], state / "report.md")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", capsys.readouterr().out)


@pytest.mark.slow
@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(repr))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_refused_and_not_a_crash(raw: bytes | str) -> None:
    """Whatever a file holds, it is refused by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "gate4-unit.json"
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode(errors="replace"))
        found = merge.collect([folder], GATES, "run-1")
    [reason] = found.refused
    assert reason.startswith(f"{folder.name}/gate4-unit.json: ")
    assert isinstance(found.results["gate4-unit"], ResultError)


@pytest.mark.slow
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_one_changed_value_never_turns_a_failure_green(data: st.DataObject) -> None:
    """A result with a value replaced by any JSON is refused, or read as what it says."""
    document: dict[str, Any] = {
        **{key: {} for key in ("model", "environment", "git")},
        **dict.fromkeys(("title", "started"), "t"),
        "id": "gate4-unit",
        "run_id": "run-1",
        "status": "FAIL",
        "duration_s": 1.0,
        "profile": "embedded",
        "schema": 1,
        "checks": [
            {"id": "GATE4", "title": "t", "status": "FAIL", "evidence": "static", "reason": "r"}
        ],
    }
    junk = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(junk)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "gate4-unit.json")
        path.write_text(json.dumps(document))
        found = merge.collect([path.parent], GATES, "run-1")
    result = found.results["gate4-unit"]
    assert isinstance(result, ResultError) or result.status is Status.FAIL


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        ("", "not valid JSON"),
        ("{}", "not a list"),
        ("[]", "empty"),
        ("[1]", "not a list of session ids"),
        ('["gate1-format"]', "no group; of the complete plan it lacks ac1-"),
        (json.dumps([*GATES, "gate9-luck"]), "beyond it names gate9-luck"),
        (json.dumps([*GATES, GATES[0]]), "names a session twice"),
        ("[" * 90_000, "not valid JSON"),
        (json.dumps(GATES) + " " * 100_000, "not a list"),
    ],
)
def test_an_unusable_planned_list_is_an_error(
    jobs: Jobs, make_run: Maker, planned: str, said: str
) -> None:
    """Without a whole plan nothing is judged, and no older report is left to be read."""
    jobs.save(make_run("gates"))
    jobs.judged()
    with pytest.raises(ResultError, match=re.escape(said)):
        jobs.judged(planned)
    assert not any((jobs.project / ".preflight" / name).exists() for name in REPORTS)


def test_what_the_project_turned_off_may_be_absent(jobs: Jobs, make_run: Maker) -> None:
    """A session that is off is shown as such, planned or not, and not required."""
    table = '[tool.mlx-preflight.off]\ngate7-build = "not a package"\n'
    (jobs.project / "pyproject.toml").write_text(table)
    results = make_run("gates")
    del results["gate7-build"]
    jobs.save(results)
    rest = [name for name in GATES if name != "gate7-build"]
    for planned in (GATES, rest):
        code, report = jobs.judged(json.dumps(planned))
        assert code == 0
        assert report["findings"] == []
        (row,) = [row for row in report["rows"] if row["session"] == "gate7-build"]
        assert (row["status"], row["required"]) == ("BLOCKED", False)


MACHINE = {"system": "Linux", "machine": "x86_64", "python": "3.12.4"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"system": "Darwin", "machine": "arm64"}, "then Darwin/arm64 with Python 3.12"),
        ({"python": "3.11.9"}, "then Linux/x86_64 with Python 3.11"),
        ({"python": "3.12.11"}, ""),
    ],
)
def test_one_run_is_one_kind_of_machine(
    jobs: Jobs, make_run: Maker, changed: dict[str, str], words: str
) -> None:
    """A wrong pattern of downloads would mix the jobs of two systems, or of two Pythons."""
    results = {
        name: dataclasses.replace(item, environment=MACHINE)
        for name, item in make_run("gates").items()
    }
    other = dataclasses.replace(results["gate7-build"], environment={**MACHINE, **changed})
    jobs.save({**results, "gate7-build": other})
    code, report = jobs.judged()
    assert code == (3 if words else 0)
    assert not words or words in report["findings"][0]["reason"]


def test_a_judge_at_another_commit_says_so(jobs: Jobs, make_run: Maker) -> None:
    """The files of the jobs may lie in its tree; the commit must be theirs."""
    git = ["git", "-C", str(jobs.project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    jobs.save(make_run("gates"))
    code, report = jobs.judged()
    assert code == 3
    assert [row["id"] for row in report["findings"]] == ["TREE"]
    assert "c0ffee was judged" in report["findings"][0]["reason"]
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    here = {"commit": done.stdout.strip(), "dirty": True, "tree": "of a job"}
    jobs.save({n: dataclasses.replace(i, git=here) for n, i in make_run("gates").items()})
    code, report = jobs.judged()
    assert code == 0
    assert report["holds_for"].endswith("with uncommitted changes")


def harmless(state: Path) -> None:
    """Check that no report holds markup, a link or a control character of a stranger."""
    control = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]"
    markdown = (state / "report.md").read_text(encoding="utf-8")
    assert not re.search(control, markdown)
    assert "<img" not in markdown
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\]\(", markdown)
    assert "@all" not in markdown
    assert not re.search(r"^# heading", markdown, re.MULTILINE)
    junit = (state / "junit.xml").read_text(encoding="utf-8")
    assert not re.search(control, junit)
    assert not ET.fromstring(junit).findall(".//img")
    sarif = (state / "report.sarif").read_text(encoding="ascii")
    assert not re.search(r"[<>&]", sarif)
    assert not re.search(control, sarif)
    assert "](" not in sarif
    (state / "report.json").read_text(encoding="ascii")
