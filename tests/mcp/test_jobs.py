"""A run keeps its project to itself as long as it lives, and nothing of it outlives a cancel."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from mcp_local import job as job_of_a_run
from mcp_local import jobs
from mcp_local.jobs import BusyError, Jobs
from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.file_lock import ProjectLock
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.plan import settings
from mlx_preflight.run import context
from mlx_preflight.run.context import RUN_ID_VARIABLE
from mlx_preflight.run.start import start_run
from tests.mcp.support.processes import alive, started, until
from tests.mcp.support.project import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = """
import sys
from pathlib import Path
from mcp_local.jobs import Jobs
project = Path(sys.argv[1])
print(Jobs((project,)).start(project, "gate4-unit").run_id, flush=True)
sys.stdin.readline()
"""


@contextmanager
def begun_elsewhere(project: Path) -> Iterator[tuple[subprocess.Popen[str], str, list[int]]]:
    """Yield another server that began a run, the run's id, and the processes of its test."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        run_id = server.stdout.readline().strip()
        yield server, run_id, started(project)


def test_a_claim_is_taken_once_and_let_go_once(tmp_path: Path) -> None:
    """The second taker gets nothing until the first lets go; letting go twice is harmless."""
    first = ProjectLock.try_acquire(tmp_path / "lock")
    assert first is not None
    assert ProjectLock.try_acquire(tmp_path / "lock") is None
    first.release()
    first.release()
    second = ProjectLock.try_acquire(tmp_path / "lock")
    assert second is not None
    second.release()


def test_a_claim_is_no_link_to_another_file(tmp_path: Path) -> None:
    """A link in its place is not followed: the file behind it is not ours."""
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="lock"):
        ProjectLock.try_acquire(tmp_path / "lock")
    assert not (tmp_path / "other").exists()


def test_a_child_that_inherits_a_claim_keeps_it(tmp_path: Path) -> None:
    """The claim ends with the child, not with the server that started it."""
    claim = ProjectLock.try_acquire(tmp_path / "lock")
    assert claim is not None
    with subprocess.Popen(["sleep", "60"], pass_fds=claim.inheritable_fds()) as child:
        claim.release()
        assert ProjectLock.try_acquire(tmp_path / "lock") is None
        child.kill()
    again = ProjectLock.try_acquire(tmp_path / "lock")
    assert again is not None
    again.release()


@pytest.mark.slow
def test_a_killed_server_does_not_let_a_second_run_in(tmp_path: Path) -> None:
    """Its run goes on, so the project stays busy until that run ends."""
    project = make(tmp_path / "project", slow=True)
    with begun_elsewhere(project) as (server, run_id, pids):
        (run,) = psutil.Process(server.pid).children()
        server.kill()
    other = Jobs((project,))
    with pytest.raises(BusyError, match=run_id):
        other.start(project, "gate1-format")
    run.terminate()
    until(lambda: not any(alive(pid) for pid in pids), 15, "the run left a process")
    until(lambda: not alive(run.pid), 15, "the run did not end")
    assert other.find(run_id).describe()["state"] == "finished"
    other.start(project, "gate1-format").cancel()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_another_server_polls_and_stops_the_run(tmp_path: Path, killed: bool) -> None:
    """What keeps a project busy can be stopped, also when the server that began it is gone."""
    project = make(tmp_path / "project", slow=True)
    with begun_elsewhere(project) as (server, run_id, pids):
        if killed:
            server.kill()
            server.wait()
        other = Jobs((project,))
        state = other.find(run_id).describe()
        assert (state["state"], state["planned"]) == ("running", ["gate4-unit"])
        assert state["target"] == "gate4-unit"
        other.close()
        assert other.find(run_id).running()
        other.find(run_id).cancel()
        until(lambda: not any(alive(pid) for pid in pids), 15, "the run left a process")
        assert other.find(run_id).describe()["state"] == "cancelled"
        server.kill()


def test_a_run_that_ended_is_still_known_to_the_next_server(tmp_path: Path) -> None:
    """With its exit code, its results and its last words."""
    project = make(tmp_path / "project")
    first = Jobs((project,))
    job = first.start(project, "ac1-evaluation")
    until(lambda: not job.running(), 60, "the run did not end")
    first.close()
    known = Jobs((project,)).find(job.run_id).describe()
    assert known == job.describe()
    assert (known["state"], known["exit_code"]) == ("finished", 1)
    assert known["done"] == {"ac1-evaluation": "FAIL"}
    assert known["output"]


@pytest.mark.slow
def test_a_run_is_stopped_although_nothing_can_be_written(tmp_path: Path) -> None:
    """Its folder is gone, as on a full disk; the processes must go all the same."""
    project = make(tmp_path / "project", slow=True)
    held = Jobs((project,))
    job = held.start(project, "gate4-unit")
    pids = started(project)
    runs = project / ".preflight" / "agent-runs"
    runs.rename(project / "moved")
    runs.write_text("in the way")
    held.close()
    assert not any(alive(pid) for pid in pids)
    assert job.describe()["state"] == "cancelled"


@pytest.mark.slow
def test_the_number_of_a_gone_process_is_never_signalled(tmp_path: Path) -> None:
    """The system gives numbers away again; a process of another kind is left alone."""
    project = make(tmp_path / "project")
    job = Jobs((project,)).start(project, "gate1-format")
    until(lambda: not job.running(), 60, "the run did not end")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        known = read_json(job.log.with_suffix(".json"))
        write_json(job.log.with_suffix(".json"), {**known, "ended": None, "pid": stranger.pid})
        found = Jobs((project,)).find(job.run_id)
        assert found.describe()["state"] == "finished"
        found.cancel()
        assert alive(stranger.pid)
        stranger.kill()


@pytest.mark.parametrize("document", [{}, [], {"planned": ["../x"]}, {"planned": 3}], ids=str)
def test_a_damaged_file_of_a_run_is_named(tmp_path: Path, document: object) -> None:
    """What cannot be believed is an error, not a run."""
    project = make(tmp_path / "project")
    path = project / ".preflight" / "agent-runs" / "r1.json"
    write_json(path, document)
    with pytest.raises(ResultError, match=r"r1\.json: damaged"):
        Jobs((project,)).find("r1")
    with pytest.raises(UsageError, match=r"not started here; the newest that were: r1"):
        Jobs((project,)).find("../agent-runs/r1")


@pytest.mark.slow
def test_cancel_reaches_a_run_that_ignores_the_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts in the background hand on that SIGINT is ignored; tools have groups of their own."""
    project = make(tmp_path / "project", slow=True)
    monkeypatch.setattr(
        job_of_a_run, "_STEPS", ((signal.SIGINT, 0.5), (signal.SIGINT, 0.1), (signal.SIGKILL, 5.0))
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = Jobs((project,)).start(project, "gate4-unit")
    finally:
        signal.signal(signal.SIGINT, before)
    pids = started(project)
    job.cancel()
    assert job.describe()["state"] == "cancelled"
    until(lambda: not any(alive(pid) for pid in pids), 10, "cancel left a process")


@pytest.mark.slow
def test_too_many_runs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is heavy, so a server runs two projects at a time at most."""
    monkeypatch.setattr(jobs, "MAX_JOBS", 1)
    folders = tuple(make(tmp_path / name) for name in "ab")
    held = Jobs(folders)
    try:
        held.start(folders[0], "gate1-format")
        with pytest.raises(UsageError, match="1 runs are already in progress"):
            held.start(folders[1], "gate1-format")
    finally:
        held.close()


def test_a_persons_own_run_keeps_agents_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nox is at work in a terminal an agent is told so, and may start once it ended."""
    project = make(tmp_path / "project")
    monkeypatch.setenv(RUN_ID_VARIABLE, "20260101T000000Z-0a0b0c0d")
    with start_run("gates", project, context.choose(settings.load_settings(project))):
        with pytest.raises(BusyError, match=r"busy, run 20260101T000000Z-0a0b0c0d \(started"):
            Jobs((project,)).start(project, "gate1-format")
        held = ProjectLock.try_acquire(project / ".preflight" / "agent-run.lock")
        assert held is not None
        held.release()
    made = Jobs((project,))
    job = made.start(project, "gate1-format")
    until(lambda: not job.running(), 60, "the run goes on")
    made.close()


def test_only_the_last_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that starts runs for months does not fill the disk with their output."""
    monkeypatch.setattr(job_of_a_run, "KEPT", 3)
    project = make(tmp_path / "project")
    folder = job_of_a_run.folder(project)
    folder.mkdir(parents=True)
    for number in range(6):
        for suffix in ("log", "json"):
            (folder / f"2026010{number}T000000Z-0a0b0c0d.{suffix}").write_text("{}")
    made = Jobs((project,))
    job = made.start(project, "gate1-format")
    until(lambda: not job.running(), 60, "the run goes on")
    made.close()
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 8
    assert names[0].startswith("20260103")
    assert made.find(job.run_id).describe()["state"] == "finished"
