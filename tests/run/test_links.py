"""A folder of the state that is a link is refused, and what it leads to is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.workspace import NAME
from mlx_preflight.plan import profiles, register, settings
from mlx_preflight.report.write import summarize
from mlx_preflight.run import merge, session, start
from mlx_preflight.run.context import RUN_ID_VARIABLE, Context

LINKS = (NAME, f"{NAME}/results", f"{NAME}/artifacts", f"{NAME}/history", f"{NAME}/cache")


@pytest.fixture(params=LINKS)
def linked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Return a project with such a link, and the folder that it leads to."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    for name in ("report.json", "ac2-selection.json", "coverage.1", "results/x.json"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("mine")
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    path = project / str(request.param)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside)
    return project, outside


def test_nothing_is_written_or_removed_through_a_link(
    linked: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run, a session, a verdict and a merge each say which link is in the way."""
    project, outside = linked
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    before = {path: path.read_text() for path in outside.rglob("*") if path.is_file()}
    chosen = settings.ProjectSettings()
    context = Context.of(project, chosen, run_id="run-1", note=lambda _: None)
    profile = profiles.find_profile("embedded")
    with pytest.raises(ResultError, match="is a link"):
        session.run_session(register.find_session("ac2-selection")[0], context)
    with pytest.raises(ResultError, match="is a link"):
        context.scratch("gate4-unit")
    with pytest.raises(ResultError, match="is a link"), start.start_run("gates", project, profile):
        pytest.fail("it began")
    with pytest.raises(ResultError, match="is a link"):
        summarize(project / NAME, "run-1")
    with pytest.raises(ResultError, match="is a link"):
        merge.merge([outside], "[]", "run-1", project)
    assert {path: path.read_text() for path in outside.rglob("*") if path.is_file()} == before


def test_a_linked_folder_of_one_session_is_refused(tmp_path: Path) -> None:
    """A gate empties the folder of its artifacts, so that has to be its own."""
    context = Context.of(tmp_path, settings.ProjectSettings(), note=lambda _: None)
    (tmp_path / NAME / "artifacts").mkdir(parents=True)
    (tmp_path / NAME / "artifacts" / "gate4-unit").symlink_to(tmp_path)
    with pytest.raises(ResultError, match="is a link"):
        context.scratch("gate4-unit")
