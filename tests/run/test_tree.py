"""A verdict holds for the tree that was judged, and says so where that is not here any more."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core import result
from mlx_preflight.core.result import SessionResult, Status
from mlx_preflight.plan import register, settings
from mlx_preflight.report.write import summarize
from mlx_preflight.run import manifest, session, tree
from mlx_preflight.run.context import Context
from mlx_preflight.run.manifest import Manifest

Maker = Callable[..., dict[str, SessionResult]]


def git(project: Path, *arguments: str) -> str:
    """Run git in a project as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(project), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(project: Path, name: str, text: str) -> str:
    """Commit a file and return the commit."""
    (project / name).write_text(text)
    git(project, "add", name)
    git(project, "commit", "-q", "-m", name)
    return git(project, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a checkout with one commit."""
    git(tmp_path, "init", "-q")
    commit(tmp_path, "a.py", "A = 1\n")
    return tmp_path


def judged(project: Path, make_run: Maker, **changes: Any) -> dict[str, Any]:
    """Leave a green run of the gates for the present tree, and judge it."""
    state = project / ".preflight"
    seen = tree.state(project) | changes
    planned = tuple(item.id for item in register.sessions("gates"))
    manifest.write(state, Manifest("run-1", "gates", planned, "2026", "embedded", "embedded", seen))
    for item in make_run("gates").values():
        result.write_result(state / "results", dataclasses.replace(item, git=seen))
    return summarize(state, "run-1")[1]


def report(project: Path, *options: str) -> tuple[int, str]:
    """Run `mlx-preflight report`; return its exit code and all that it said."""
    done = CliRunner().invoke(app, ["report", "--project", str(project), *options])
    return done.exit_code, done.output


def test_a_verdict_names_its_commit(project: Path, make_run: Maker) -> None:
    """On the judged tree it is as before, with the commit beside the model."""
    document = judged(project, make_run)
    head = git(project, "rev-parse", "HEAD")
    assert (document["exit_code"], document["verdict"]) == (0, "partial")
    assert document["holds_for"].endswith(f"commit {head[:12]}")
    assert report(project)[0] == 0
    (project / "new.py").write_text("")
    assert judged(project, make_run)["holds_for"].endswith("with uncommitted changes")
    assert report(project)[0] == 0


@pytest.mark.parametrize("how", ["commit", "edit", "untracked", "reset"])
def test_a_tree_that_nobody_judged_is_not_green(project: Path, make_run: Maker, how: str) -> None:
    """`summary` and `report` say so and exit with 3; `--stale-ok` shows the old verdict."""
    commit(project, "b.py", "B = 1\n")
    judged(project, make_run)
    if how == "commit":
        commit(project, "a.py", "broken(\n")
    elif how == "reset":
        git(project, "reset", "-q", "--hard", "HEAD~1")
    else:
        (project / ("a.py" if how == "edit" else "test_new.py")).write_text("broken(\n")
    code, said = report(project)
    assert code == 3
    assert "was judged" in said
    assert "--stale-ok" in said
    assert report(project, "--stale-ok")[0] == 0
    verdict, document = summarize(project / ".preflight", "run-1")
    assert (verdict.exit_code, verdict.status) == (3, Status.ERROR)
    assert [row["id"] for row in document["findings"]] == ["TREE"]
    assert report(project)[0] == 3


def test_what_a_run_writes_is_no_other_tree(project: Path, make_run: Maker) -> None:
    """Its own folder, bytecode, builds, a version file, and the files of the hand-off."""
    commit(project, "AGENT_LOG.md", "# Log\n")
    commit(project, "pyproject.toml", "[project]\nname='x'\n[tool.mlx-preflight.handoff]\n")
    judged(project, make_run)
    (project / "AGENT_LOG.md").write_text("# Log\n\nmore\n")
    for name in ("__pycache__/a.pyc", "build/lib/a.py", "src/x/_version.py", "x.egg-info/PKG-INFO"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    assert report(project)[0] == 0
    assert summarize(project / ".preflight", "run-1")[0].exit_code == 0


def test_a_folder_without_git_is_judged_as_before(tmp_path: Path, make_run: Maker) -> None:
    """Where no commit is known, nothing can have moved."""
    assert judged(tmp_path, make_run)["exit_code"] == 0
    assert report(tmp_path)[0] == 0


def test_a_commit_during_a_session_is_not_examined(project: Path, make_run: Maker) -> None:
    """The state before counts, and a result that saw two commits is none."""
    (project / "pyproject.toml").write_text("[project]\nname='x'\n")
    before = git(project, "rev-parse", "HEAD")

    def note(_: str) -> None:
        commit(project, "a.py", f"A = {git(project, 'rev-parse', 'HEAD')!r}\n")

    context = Context.of(project, settings.ProjectSettings(), run_id="run-1", note=note)
    done = session.run_session(register.find_session("ac2-selection")[0], context)
    assert done.git["commit"] == before
    assert done.git["moved"] == git(project, "rev-parse", "HEAD")
    document = judged(project, make_run, commit=before, moved=done.git["moved"])
    assert document["exit_code"] == 3
    assert "changed while the session ran" in document["findings"][0]["reason"]


def test_a_report_that_cannot_be_replaced_is_doubted(
    project: Path, make_run: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later run could not leave one in a folder that is read-only."""
    judged(project, make_run)
    state = project / ".preflight"
    may = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != state and may(path, mode))
    code, said = report(project)
    assert code == 3
    assert "cannot be written" in said
    assert report(project, "--stale-ok")[0] == 0
