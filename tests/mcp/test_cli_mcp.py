"""The commands around the memory: what people type, and what they are told."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.json_file import write_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import answers
from mlx_preflight.history.memory_manager import MemoryManager
from tests.mcp.support import runs
from tests.mcp.support.project import make, write_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that remembers four runs, the last one slower."""
    folder = make(tmp_path / "project")
    memory = MemoryManager.of_project(folder)
    for number, speed in enumerate([100.0, 101.0, 99.0, 80.0]):
        memory.record(runs.report(number, measured={"AC5.4/decode_tokens_per_s": speed}))
    return folder


def run(project: Path, *arguments: str) -> Result:
    """Run a command on the project."""
    return CliRunner().invoke(app, [*arguments, "--project", str(project)])


def test_history_shows_and_flags_the_last_change(project: Path) -> None:
    """Exit 1 when the newest run is out of line, 0 when it is not."""
    done = run(project, "history", "decode_tokens_per_s")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 4
    assert "<< -20 % against the median of 3 earlier runs" in done.stdout
    found = json.loads(run(project, "history", "decode_tokens_per_s", "--json").stdout)
    assert [point["flagged"] for point in found] == [False, False, False, True]
    before = run(project, "history", "decode_tokens_per_s", "--where", "decode_tokens_per_s > 90")
    assert before.exit_code == 0


def test_history_is_drawn(project: Path, tmp_path: Path) -> None:
    """The picture is written in the format of its name; another one is refused."""
    target = tmp_path / "speed.svg"
    run(project, "history", "decode_tokens_per_s", "--plot", str(target))
    assert target.read_text().startswith("<?xml")
    wrong = run(project, "history", "decode_tokens_per_s", "--plot", str(tmp_path / "speed.exe"))
    assert isinstance(wrong.exception, UsageError)


def test_search_lists_and_finds(project: Path) -> None:
    """Without words the newest come first; with words the best."""
    listed = run(project, "runs", "search", "--limit", "2")
    assert listed.stdout.splitlines()[0].startswith("run-00003")
    assert listed.stdout.splitlines()[-1] == "2 of 4 and more"
    run(project, "runs", "note", "run-00001", "the charger was unplugged")
    found = json.loads(run(project, "runs", "search", "unplugged charger", "--json").stdout)
    assert [hit["run_id"] for hit in found["hits"]] == ["run-00001"]


def test_search_asks_by_every_exact_filter(project: Path) -> None:
    """What was measured is shown beside the settings; what nothing holds is an error."""
    chosen = ("--machine", "epyc", "--version", "0.1.0", "--check", "GATE1")
    more = (
        "--check-status",
        "PASS",
        "--since",
        "2026-01-01T01:00Z",
        "--until",
        "2026-01-01T02:30Z",
    )
    fast = ("--where", "decode_tokens_per_s > 100", "--verdict", "ready_for_integrator")
    done = run(project, "runs", "search", *chosen, *more, *fast, "--status", "PASS")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run-00001", "measured", "1"]
    assert "AC5.4/decode_tokens_per_s 101.0" in done.stdout
    assert "0 of 0" in run(project, "runs", "search", "tokens", "--floor", "100").stdout
    for wrong in (("--run", "r1"), ("--where", "speed > 1"), ("--model", "x")):
        done = run(project, "runs", "search", *wrong)
        assert isinstance(done.exception, UsageError)
        assert "no recorded run" in str(done.exception)


def test_a_run_is_shown_and_two_are_compared(project: Path) -> None:
    """What did not pass, what was measured, what was noted; and what changed in between."""
    MemoryManager.of_project(project).record(runs.report(8, failed={"GATE2": "unused import"}))
    run(project, "runs", "note", "run-00008", "ruff --fix did it", "--who", "Ada")
    shown = run(project, "runs", "show", "run-00008").stdout
    assert "GATE2 FAIL: unused import" in shown
    assert "noted by Ada" in shown
    assert "ruff --fix did it" in shown
    assert json.loads(run(project, "runs", "show", "run-00003", "--json").stdout)["notes"] == []
    compared = run(project, "runs", "compare", "run-00003", "run-00008").stdout.splitlines()
    assert "GATE2: PASS -> FAIL" in compared
    assert "AC5.4/decode_tokens_per_s: 80.0 -> None" in compared
    found = json.loads(run(project, "runs", "compare", "run-00003", "run-00008", "--json").stdout)
    assert found["runs"] == ["run-00003", "run-00008"]
    assert isinstance(run(project, "runs", "show", "r9").exception, UsageError)


def test_the_earlier_name_of_the_group_works(project: Path) -> None:
    """`memory …` is `runs …`, as scripts and notes may still say, and help shows it no more."""
    assert run(project, "memory", "search").stdout == run(project, "runs", "search").stdout
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "\n  runs " in shown
    assert "\n  memory " not in shown


def test_the_memory_is_kept(project: Path, tmp_path: Path) -> None:
    """Status, export, prune, import and rebuild agree on the number of runs."""
    assert json.loads(run(project, "runs", "status", "--json").stdout)["records"] == 4
    target = tmp_path / "runs.jsonl"
    assert run(project, "runs", "export", str(target)).stdout.startswith("exported: 4\n")
    assert run(project, "runs", "prune", "--keep", "1").stdout == "forgotten: 3\n"
    assert run(project, "runs", "rebuild").stdout == "indexed: 1\n"
    with target.open("a") as stream:
        stream.write("garbage\n")
    done = run(project, "runs", "import", str(target))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[:2] == ["new: 3", "refused: 1"]
    assert isinstance(run(project, "runs", "prune").exception, UsageError)


@pytest.mark.slow
def test_a_judged_run_is_remembered(tmp_path: Path) -> None:
    """`summary` records what it judged, and says so; a memory that fails is no failure."""
    folder = make(tmp_path / "project")
    run(folder, "check", "ac1-evaluation")
    done = run(folder, "summary")
    assert "recorded" in done.stderr
    heads = MemoryManager.of_project(folder).heads()
    assert [head.status_of("AC1.1") for head in heads] == ["FAIL"]
    history = folder / ".preflight" / "history"
    for path in sorted(history.rglob("*"), reverse=True):
        path.unlink()
    history.rmdir()
    history.write_text("in the way")
    again = run(folder, "summary")
    assert "the run was not recorded" in again.stderr
    assert again.exit_code == done.exit_code


def test_a_sign_off_joins_the_run_that_was_read(tmp_path: Path) -> None:
    """Signing after the summary needs no second summary to be remembered."""
    folder = tmp_path / "project"
    judged = {"model": "f" * 64, "answers": [{"id": "a", "answer": "b"}]}
    digest = answers.digest(judged)
    write_json(Workspace(folder / ".preflight").answers, {"judged": judged, "digest": digest})
    report = runs.report(1, measured={"AC5.6/answers_digest": digest})
    write_json(folder / ".preflight" / "report.json", report)
    (folder / "pyproject.toml").write_text("")
    done = run(folder, "sign-off", "AC5", "--who", "Ada", "--note", "read all eight")
    assert done.exit_code == 0
    assert "run run-00001 recorded" in done.stderr
    kept = MemoryManager.of_project(folder).get("run-00001")["sign_offs"]["AC5"]
    assert (kept["who"], kept["note"]) == ("Ada", "read all eight")


def test_http_beyond_loopback_is_refused_before_anything_starts(project: Path) -> None:
    """The command names the option that allows it."""
    arguments = ["mcp", "--project", str(project), "--http", "--host", "0.0.0.0"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError)
    assert "--allow-host" in done.exception.hint
    assert not (project / ".preflight" / "mcp-token").exists()


def test_http_for_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By name, and without a token made for it."""
    done = CliRunner().invoke(app, ["mcp", "--http", "--project", str(tmp_path / "no-such")])
    assert isinstance(done.exception, UsageError)
    assert "no-such: not a folder" in str(done.exception)


def test_a_report_of_another_schema_is_said_to_be_unreadable(tmp_path: Path) -> None:
    """The memory never believes what it cannot read."""
    from mlx_preflight.cli import history as cli_history

    folder = make(tmp_path / "project")
    write_report(folder, {"schema": 99})
    assert "not recorded" in cli_history.remember(folder / ".preflight")


@pytest.mark.parametrize("spoil", [".preflight", "history", "records.jsonl", "pipe"])
@pytest.mark.parametrize(
    "command",
    [
        ("runs", "status"),
        ("runs", "search"),
        ("runs", "search", "x"),
        ("runs", "rebuild"),
        ("runs", "note", "r", "x"),
        ("runs", "prune", "--keep", "1"),
        ("history", "step_s"),
    ],
    ids=" ".join,
)
def test_what_lies_in_the_memorys_place_is_named(
    tmp_path: Path, spoil: str, command: tuple[str, ...]
) -> None:
    """A file for a folder, a folder for a file, and a pipe that would never end."""
    folder = tmp_path / ".preflight" / "history"
    if spoil == ".preflight":
        folder.parent.write_text("")
    elif spoil == "history":
        folder.parent.mkdir()
        folder.write_text("")
    elif spoil == "pipe":
        folder.mkdir(parents=True)
        os.mkfifo(folder / "records.jsonl")
    else:
        (folder / spoil).mkdir(parents=True)
    done = run(tmp_path, *command)
    assert isinstance(done.exception, ResultError), done.exception
    assert str(folder) in str(done.exception)
