"""The hand-off files say what the report says, lose nothing, and stay in the project."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlx_preflight.core.errors import HandoffError, UsageError
from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status, write_result
from mlx_preflight.handoff import handoff
from mlx_preflight.plan import profiles, register, spec
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan.handoff_settings import Handoff
from mlx_preflight.report import document as documents
from mlx_preflight.run import verdict
from mlx_preflight.run.manifest import Manifest

REPORT = ".oodatcaa/work/reports/T001/tester_T001-T01.md"

QUEUE = """{
  "sprint": 4,
  "tasks": [
    {"id": "T001", "status": "in_progress", "weight": 1.50, "owner": "builder"},
    {"id": "T001-T01", "status": "open", "zeta": [1, 2], "alpha": null}
  ]
}
"""

HOSTILE = (
    "<img src=x onerror=alert(1)> [click](javascript:x) | `a` **b** --> \x1b[31mred \x9b2J"
    " @everyone\n# Heading\n<!-- mlx-preflight run other -->"
)


def session_results(failed: str, reason: str, group: str) -> dict[str, SessionResult]:
    """Return one result for every session of a group, in which one check may have failed."""
    return {
        session.id: SessionResult(
            id=session.id,
            title=session.title,
            checks=tuple(_check(check, failed, reason) for check in session.checks),
            run_id="run-1",
            started="2026-01-02T03:04:05+00:00",
            duration_s=1.0,
            profile="embedded",
            model={"requested": "embedded"},
            git={"commit": "c0ffee", "dirty": False},
        )
        for session in register.sessions(group)
    }


def results(failed: str = "", reason: str = "seen", group: str = "preflight") -> dict[str, Any]:
    """Return the report document of such results."""
    planned = register.sessions(group)
    run = Manifest("run-1", group, tuple(s.id for s in planned), "t0", "embedded", "embedded")
    found = session_results(failed, reason, group)
    judged = verdict.judge(
        planned, found, run_id="run-1", group=group, profile=profiles.find_profile("embedded")
    )
    report: dict[str, Any] = json.loads(json.dumps(documents.build(judged, found, run)))
    return report


def _check(check: spec.Check, failed: str, reason: str) -> CheckResult:
    if check.id == failed:
        return CheckResult(
            check.id, check.title, Status.FAIL, Evidence.STATIC, reason, f"mend {check.id}"
        )
    return CheckResult(check.id, check.title, Status.PASS, Evidence.STATIC, "fine")


def settings(**keys: Any) -> project_table.ProjectSettings:
    return project_table.ProjectSettings(handoff=Handoff(**({"profile": "embedded"} | keys)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "SPRINT_QUEUE.json").write_text(QUEUE, encoding="utf-8")
    return root


@pytest.fixture
def writable(project: Path) -> Iterator[Path]:
    """Return the project's queue, made writable again for the clean-up."""
    queue = project / "SPRINT_QUEUE.json"
    yield queue
    queue.chmod(0o644)


def test_nothing_is_written_without_the_table(project: Path) -> None:
    """A project that does not ask for hand-off files gets none."""
    assert handoff.write(results(), project, project_table.ProjectSettings()) == ()
    assert handoff.write(results(), project, settings(enabled=False)) == ()
    assert sorted(path.name for path in project.iterdir()) == ["SPRINT_QUEUE.json"]


def test_a_passed_plan_makes_the_task_ready(project: Path) -> None:
    """Report, queue and log all say ready, and which model that holds for."""
    lines = handoff.write(results(), project, settings())
    report = (project / REPORT).read_text(encoding="utf-8")
    log = (project / "AGENT_LOG.md").read_text(encoding="utf-8")
    entry = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"][1]
    assert entry["status"] == "ready_for_integrator"
    assert entry["test_results"]["sessions"]["ac6-memory"] == "PASS"
    assert "embedded model" in entry["test_results"]["holds_for"]
    assert "**Status: ready_for_integrator**" in report
    assert "Integrate commit c0ffee" in report
    assert "Acceptance criteria: 8 of 8 passed" in report
    gates = f"{len(register.sessions('gates'))} of {len(register.sessions('gates'))}"
    assert f"Quality gates status: {gates} passed" in report
    assert f"Gates passed: {gates}; criteria passed: 8 of 8" in log
    assert lines == (
        f"wrote {REPORT}",
        "marked T001-T01 ready_for_integrator in SPRINT_QUEUE.json",
        "appended to AGENT_LOG.md",
    )


def test_a_failed_check_sends_the_task_back_with_its_remedy(project: Path) -> None:
    """The builder reads what failed and what to do; the integrator reads that it waits."""
    handoff.write(results("AC6.7", "18 GB > 16 GB"), project, settings())
    report = (project / REPORT).read_text(encoding="utf-8")
    entry = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"][1]
    assert entry["status"] == "needs_adapt"
    assert entry["test_results"]["findings"] == ["AC6.7"]
    assert "18 GB &gt; 16 GB" in report
    assert "- AC6.7: mend AC6.7" in report
    assert "Not ready" in report
    assert "- Not passed: AC6.7" in (project / "AGENT_LOG.md").read_text(encoding="utf-8")


def test_fields_order_and_formats_of_the_queue_are_kept(project: Path) -> None:
    """Only the subtask's status and results differ, to the byte."""
    handoff.write(results("GATE2"), project, settings())
    before, after = QUEUE.splitlines(), (project / "SPRINT_QUEUE.json").read_text().splitlines()
    assert after[:4] == before[:4]
    assert after[5:] == before[5:]
    changed = before[4].replace('"open"', '"needs_adapt"').removesuffix("}")
    assert after[4].startswith(changed + ', "test_results": {')


def test_the_permissions_of_a_file_are_kept(project: Path) -> None:
    """Replacing a file does not change who may read it, and new files are readable."""
    queue = project / "SPRINT_QUEUE.json"
    queue.chmod(0o664)
    handoff.write(results(), project, settings())
    assert stat.S_IMODE(queue.stat().st_mode) == 0o664
    assert stat.S_IMODE((project / REPORT).stat().st_mode) == 0o644


@pytest.mark.parametrize("group", ["gates", "ac"])
def test_a_part_of_the_plan_never_makes_a_task_ready(project: Path, group: str) -> None:
    """A green group leaves status, results and report of the whole plan as they are."""
    lines = handoff.write(results(group=group), project, settings())
    assert (project / "SPRINT_QUEUE.json").read_text(encoding="utf-8") == QUEUE
    assert not (project / REPORT).exists()
    assert "cannot end the task" in lines[0]
    assert "cannot end the task" in lines[1]
    assert "partial" in (project / "AGENT_LOG.md").read_text(encoding="utf-8")


def test_another_profile_never_makes_a_task_ready(project: Path) -> None:
    """The embedded model that passed says nothing about the task's model; a failure counts."""
    lines = handoff.write(results(), project, project_table.ProjectSettings(handoff=Handoff()))
    assert "left as it is" in lines[0]
    assert (project / "SPRINT_QUEUE.json").read_text(encoding="utf-8") == QUEUE
    handoff.write(results("GATE1"), project, project_table.ProjectSettings(handoff=Handoff()))
    tasks = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"]
    assert tasks[1]["status"] == "needs_adapt"


def test_a_part_of_the_plan_can_send_a_task_back(project: Path) -> None:
    """A red group is reason enough for needs_adapt."""
    handoff.write(results("GATE1", group="gates"), project, settings())
    tasks = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"]
    assert tasks[1]["status"] == "needs_adapt"
    assert "Not part of this run." in (project / REPORT).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [{"exit_code": 3}, {"status": "ERROR"}, {"verdict": "needs_adapt"}],
    ids=["exit code", "status", "verdict"],
)
def test_a_report_that_contradicts_itself_is_not_ready(
    project: Path, change: dict[str, Any]
) -> None:
    """Ready needs the verdict, the status and the exit code to agree."""
    handoff.write({**results(), **change}, project, settings())
    tasks = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"]
    assert tasks[1]["status"] == "needs_adapt"


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"tasks": [{"id": "T009"}]}', b"\xff\xfe{}", b'{"tasks": [{"id": "T001", "x": NaN}]}'],
    ids=["cut off", "no such task", "not UTF-8", "not JSON"],
)
def test_a_queue_that_cannot_be_used_is_left_untouched(project: Path, raw: bytes) -> None:
    """It is an error that names the file; its bytes stay, the other files are written."""
    queue = project / "SPRINT_QUEUE.json"
    queue.write_bytes(raw)
    with pytest.raises(HandoffError, match=r"SPRINT_QUEUE\.json"):
        handoff.write(results(), project, settings())
    assert queue.read_bytes() == raw
    assert (project / REPORT).is_file()
    assert (project / "AGENT_LOG.md").is_file()


def test_a_missing_queue_is_reported_and_not_made_up(project: Path) -> None:
    """Without a queue the line says so; nothing pretends that a task was marked."""
    (project / "SPRINT_QUEUE.json").unlink()
    assert "not updated: no SPRINT_QUEUE.json" in handoff.write(results(), project, settings())
    assert not (project / "SPRINT_QUEUE.json").exists()


def test_a_missing_queue_is_created_where_that_is_configured(project: Path) -> None:
    """`create = true` starts a queue with this one task, and the next run finds it there."""
    (project / "SPRINT_QUEUE.json").unlink()
    assert "created SPRINT_QUEUE.json" in handoff.write(results(), project, settings(create=True))
    again = handoff.write(results("GATE1"), project, settings(create=True))
    assert "marked T001-T01 needs_adapt in SPRINT_QUEUE.json" in again
    (task,) = json.loads((project / "SPRINT_QUEUE.json").read_bytes())["tasks"]
    assert task["id"] == "T001-T01"


def test_the_integrator_is_told_what_to_look_at(project: Path) -> None:
    """A ready task still names uncommitted changes and what was not required."""
    document = {**results("BENCH1"), "git": {"commit": "c0ffee", "dirty": True}}
    handoff.write(document, project, settings())
    report = (project / REPORT).read_text(encoding="utf-8")
    assert "**Status: ready_for_integrator**" in report
    assert "commit c0ffee with uncommitted changes" in report
    assert "commit it and run the plan again" in report
    assert "- Not required, and not passed: BENCH1" in report


def test_a_run_is_logged_once(project: Path) -> None:
    """Judging a run twice adds nothing; another run adds its entry below the first."""
    handoff.write(results(), project, settings())
    once = (project / "AGENT_LOG.md").read_bytes()
    lines = handoff.write(results(), project, settings())
    assert "AGENT_LOG.md has this run already" in lines
    assert (project / "AGENT_LOG.md").read_bytes() == once
    handoff.write({**results(), "run_id": "run-2"}, project, settings())
    twice = (project / "AGENT_LOG.md").read_bytes()
    assert twice.startswith(once)
    assert twice.count(b"<!-- mlx-preflight run ") == 2


def test_a_log_of_others_is_only_appended_to(project: Path) -> None:
    """What other agents wrote stays, also without a last line end."""
    log = project / "AGENT_LOG.md"
    log.write_bytes(b"# Log\r\n- builder: done")
    handoff.write(results(), project, settings())
    assert log.read_bytes().startswith(b"# Log\r\n- builder: done\n\n## ")


def test_hostile_text_stays_text(project: Path) -> None:
    """HTML, Markdown, mentions, terminal escapes and a forged marker are all disarmed."""
    document = results("AC4.2", HOSTILE)
    document = {**document, "run_id": HOSTILE, "git": {"commit": HOSTILE, "dirty": None}}
    handoff.write(document, project, settings())
    for name in (REPORT, "AGENT_LOG.md"):
        text = (project / name).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert "<img" not in text
        assert "[click](" not in text
        assert "@everyone" not in text.replace("\\@everyone", "")
        assert "\n# Heading" not in text
        assert "run other -->" not in text
    queue = (project / "SPRINT_QUEUE.json").read_bytes()
    assert b"\x1b" not in queue
    assert "\x9b".encode() not in queue
    assert json.loads(queue)["tasks"][1]["test_results"]["run_id"] == HOSTILE
    assert len((project / "AGENT_LOG.md").read_text().splitlines()) < 12
    assert "AGENT_LOG.md has this run already" in handoff.write(document, project, settings())


def _one_writer(project: Path, number: int, rounds: int) -> None:
    for turn in range(rounds):
        document = {**results("GATE1"), "run_id": f"writer-{number}-{turn}"}
        handoff.write(document, project, settings(subtask=f"W{number}-{turn}"))


@pytest.mark.slow
def test_concurrent_writers_lose_nothing(project: Path) -> None:
    """Two processes mark different tasks at once; every mark and every entry is there."""
    rounds = 6
    tasks = [{"id": f"W{number}-{turn}"} for number in (1, 2) for turn in range(rounds)]
    queue = project / "SPRINT_QUEUE.json"
    queue.write_text(json.dumps({"tasks": tasks}, indent=1), encoding="utf-8")
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_one_writer, args=(project, number, rounds)) for number in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    marked = json.loads(queue.read_bytes())["tasks"]
    assert [task["status"] for task in marked] == ["needs_adapt"] * 2 * rounds
    log = (project / "AGENT_LOG.md").read_text(encoding="utf-8")
    for number in (1, 2):
        for turn in range(rounds):
            assert log.count(f"<!-- mlx-preflight run writer-{number}-{turn} -->") == 1


def test_a_held_lock_is_a_clear_error(project: Path) -> None:
    """A writer that waits too long says which lock is held, and writes nothing."""
    (project / ".preflight").mkdir()
    with (
        FileLock(project / ".preflight" / "handoff.lock"),
        pytest.raises(HandoffError, match=r"handoff\.lock: another process"),
    ):
        handoff.write(results(), project, settings(), lock_timeout_s=0.05)
    assert not (project / "AGENT_LOG.md").exists()


def test_a_read_only_file_is_respected(project: Path, writable: Path) -> None:
    """A file that its owner made read-only is not replaced, even by root."""
    writable.chmod(0o444)
    with pytest.raises(HandoffError, match=r"SPRINT_QUEUE\.json: read-only"):
        handoff.write(results(), project, settings())
    assert writable.read_text(encoding="utf-8") == QUEUE


def test_a_link_out_of_the_project_is_refused(project: Path, tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder leads a write outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "log.md").write_text("mine", encoding="utf-8")
    (project / "AGENT_LOG.md").symlink_to(outside / "log.md")
    (project / ".oodatcaa").symlink_to(outside, target_is_directory=True)
    with pytest.raises(HandoffError, match="outside the project") as caught:
        handoff.write(results(), project, settings())
    assert "AGENT_LOG.md" in str(caught.value)
    assert REPORT in str(caught.value)
    assert [path.name for path in outside.iterdir()] == ["log.md"]
    assert (outside / "log.md").read_text(encoding="utf-8") == "mine"


def test_a_huge_queue_is_refused_unread(project: Path) -> None:
    """A file over the limit is an error, not a memory problem."""
    with (project / "SPRINT_QUEUE.json").open("r+b") as stream:
        stream.truncate(handoff.MAX_BYTES + 1)
    with pytest.raises(HandoffError, match="at most"):
        handoff.write(results(), project, settings())


def test_a_folder_that_cannot_be_made_is_an_error(project: Path) -> None:
    """Where a file stands in place of a folder, the message names what was to be written."""
    with pytest.raises(HandoffError, match=r"cannot append to log\.md"):
        handoff.write(results(), project, settings(log="SPRINT_QUEUE.json/log.md"))


def test_a_lock_that_cannot_be_made_is_an_error(project: Path) -> None:
    """Without a state folder nothing can be locked, so nothing is written."""
    (project / ".preflight").write_text("", encoding="utf-8")
    with pytest.raises(HandoffError, match="cannot lock"):
        handoff.write(results(), project, settings())
    assert not (project / "AGENT_LOG.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("queue", "code", "seen"),
    [
        (QUEUE, 0, "hand-off: marked T001-T01 ready_for_integrator in SPRINT_QUEUE.json"),
        ("{", 3, "error: hand-off incomplete: SPRINT_QUEUE.json left as it is"),
    ],
    ids=["usable", "malformed"],
)
def test_summary_hands_off_and_never_hides_a_failure(
    project: Path, queue: str, code: int, seen: str
) -> None:
    """The command prints what it wrote; an incomplete hand-off of a passed plan exits 3."""
    (project / "SPRINT_QUEUE.json").write_text(queue, encoding="utf-8")
    (project / "pyproject.toml").write_text(
        '[tool.mlx-preflight.handoff]\nprofile = "embedded"\n', encoding="utf-8"
    )
    for item in session_results("", "", "preflight").values():
        write_result(project / ".preflight" / "results", item)
    done = subprocess.run(
        [sys.executable, "-m", "mlx_preflight", "summary", "--json", "--project", str(project)],
        env={**os.environ, "PREFLIGHT_RUN_ID": "run-1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert seen in done.stderr
    assert json.loads(done.stdout)["verdict"] == "ready_for_integrator"


@pytest.mark.parametrize(
    "line",
    [
        'profile = "qwen"',
        'report = "../tester.md"',
        'report = "/etc/tester.md"',
        'report = "a/../../b.md"',
        'queue = "queue.toml"',
        'queue = "..\\\\queue.json"',
        'log = "AGENT_LOG"',
        'log = "a\\u0000.md"',
        'task = "../T001"',
        'subtask = "T001/T01"',
        'agent = ""',
        'report = "AGENT_LOG.md"',
        "create = 1",
    ],
)
def test_a_path_or_name_that_could_escape_is_refused(project: Path, line: str) -> None:
    """The table accepts plain names, and files of the right kind inside the project."""
    (project / "pyproject.toml").write_text(f"[tool.mlx-preflight.handoff]\n{line}\n")
    with pytest.raises(UsageError, match=r"mlx-preflight\.handoff\]|unknown profile"):
        project_table.load_settings(project)


def test_an_unknown_key_names_the_nearest(project: Path) -> None:
    """A misspelt key is an error with a suggestion, as in the table above it."""
    (project / "pyproject.toml").write_text('[tool.mlx-preflight.handoff]\nsubtsk = "x"\n')
    with pytest.raises(UsageError, match="did you mean 'subtask'"):
        project_table.load_settings(project)


def test_the_table_alone_switches_it_on(project: Path) -> None:
    """An empty table takes every default, and the report's path follows the names."""
    (project / "pyproject.toml").write_text('[tool.mlx-preflight.handoff]\ntask = "T2"\n')
    found = project_table.load_settings(project).handoff
    assert found is not None
    assert found.enabled
    assert found.report_path == ".oodatcaa/work/reports/T2/tester_T001-T01.md"
    (project / "pyproject.toml").write_text("[tool.mlx-preflight]\n")
    assert project_table.load_settings(project).handoff is None
