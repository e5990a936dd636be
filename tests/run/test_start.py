"""A run keeps its project, and nothing of an earlier one passes for its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import SessionResult, write_result
from mlx_preflight.core.workspace import REPORTS
from mlx_preflight.plan import register, settings
from mlx_preflight.report.write import summarize
from mlx_preflight.run import context, manifest, start
from mlx_preflight.run.context import RUN_ID_VARIABLE

Maker = Callable[..., dict[str, SessionResult]]
PROFILE = context.choose(settings.ProjectSettings())
GATES = [session.id for session in register.sessions("gates")]


@pytest.fixture(autouse=True)
def _run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-2")


def test_a_run_begins_with_its_plan_and_without_a_verdict(tmp_path: Path) -> None:
    """What is planned is written down, and every older report is gone."""
    state = tmp_path / ".preflight"
    state.mkdir()
    for name in REPORTS:
        (state / name).write_text("older")
    with start.start_run("gates", tmp_path, PROFILE) as planned:
        assert planned == GATES
    last = manifest.read(state)
    assert last is not None
    assert (last.run_id, list(last.planned)) == ("run-2", GATES)
    assert not [name for name in REPORTS if (state / name).exists()]


def test_results_under_the_same_id_do_not_pass_for_this_run(
    tmp_path: Path, make_run: Maker
) -> None:
    """An id that is given twice lets no green run stand for one that was killed."""
    state = tmp_path / ".preflight"
    for number, item in enumerate(make_run("gates").values()):
        mine = dataclasses.replace(item, run_id="run-2" if number else "run-1")
        write_result(state / "results", mine)
    (state / "results" / "gate8-audit.json").write_text("{")
    with start.start_run("gates", tmp_path, PROFILE):
        pass
    kept = sorted(path.stem for path in (state / "results").iterdir())
    assert kept == ["gate1-format", "gate8-audit"]
    assert summarize(state, "run-2", only=True)[0].counts["PASS"] == 0


def test_a_project_is_run_once_at_a_time(tmp_path: Path) -> None:
    """The second run names the first, which goes on; after it the project is free."""
    with start.start_run("gates", tmp_path, PROFILE):
        with (
            pytest.raises(ResultError, match=r"run run-2 \(started .*\) is already in progress"),
            start.start_run("ac", tmp_path, PROFILE),
        ):
            pass
        last = manifest.read(tmp_path / ".preflight")
        assert last is not None
        assert last.group == "gates"
    with start.start_run("ac", tmp_path, PROFILE) as planned:
        assert planned[0].startswith("ac1")
