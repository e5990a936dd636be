"""`init` brings the gates to projects of other layouts, and never takes what is there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mlx_preflight.adopt import proposal, survey
from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Status
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from tests.adopt.layouts import LAYOUTS, Layout, faults
from tests.gates import sample

GATES = [session.id for session in register.sessions("gates")]
by_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda item: item.name)


def init(project: Path, *arguments: str) -> Result:
    """Run the command on a project, without baselines: they need venvs."""
    return CliRunner().invoke(app, ["init", str(project), "--no-baselines", *arguments])


def texts(project: Path) -> dict[str, str]:
    """Return every file of a project."""
    files = (path for path in project.rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_text() for path in files}


@by_layout
def test_the_layout_is_seen_and_the_settings_are_valid(tmp_path: Path, layout: Layout) -> None:
    """Source folder, default group and the gates that cannot apply stand in the table."""
    project = layout.write(tmp_path)
    assert init(project, "--yes").exit_code == 0
    settings = project_table.load_settings(project)
    assert settings.source == layout.source
    assert settings.default_group == "gates"
    assert set(register.off(settings)) == layout.off
    assert settings.acceptance == ("tests/integration" if layout.acceptance else "tests/acceptance")
    compile((project / "noxfile.py").read_text(), "noxfile.py", "exec")


@by_layout
def test_a_dry_run_shows_a_diff_and_writes_nothing(tmp_path: Path, layout: Layout) -> None:
    """Every proposed file is in the diff, and the folder stays as it was."""
    before = texts(layout.write(tmp_path))
    done = init(tmp_path, "--dry-run")
    assert done.exit_code == 0
    for name in ("noxfile.py", "pyproject.toml", ".github/workflows/preflight.yml", ".gitignore"):
        assert f"+++ b/{name}" in done.output
    assert texts(tmp_path) == before


def test_nothing_that_exists_is_changed_without_asking(tmp_path: Path) -> None:
    """Without a terminal and without --yes the answer is no, exit 1, and new files are written."""
    before = texts(LAYOUTS[0].write(tmp_path))
    done = init(tmp_path)
    assert done.exit_code == 1
    assert "left pyproject.toml as it is" in done.output
    after = texts(tmp_path)
    assert {name: after[name] for name in before} == before
    assert "noxfile.py" in after


def test_what_is_there_stays_when_something_is_added(tmp_path: Path) -> None:
    """With --yes files are only added to: own sessions, tables and patterns survive."""
    own = {"noxfile.py": "import nox\n", ".gitignore": "build/\n"}
    project = LAYOUTS[1].write(tmp_path)
    for name, text in own.items():
        (project / name).write_text(text)
    before = texts(project)
    assert init(project, "--yes").exit_code == 0
    for name in (".gitignore", "pyproject.toml"):
        assert (project / name).read_text().startswith(before[name].rstrip())
    assert before["noxfile.py"] in (project / "noxfile.py").read_text()
    assert "sessions.define" in (project / "noxfile.py").read_text()


NOXFILES = {
    "functions": (
        '"""Sessions."""\n\nimport os\n\nimport nox\n\nnox.options.sessions = [os.sep]\n\n\n'
        '@nox.session\ndef sessions(session: nox.Session) -> None:\n    """Run."""\n'
    ),
    "names": (
        "from __future__ import annotations\n\nfrom nox import Session, session\n\n\n"
        '@session\ndef tests(run: Session) -> None:\n    """Run."""\n'
    ),
    "none": None,
}


@pytest.mark.parametrize("name", NOXFILES)
def test_a_written_noxfile_is_clean_by_every_rule_that_read_the_old_one(
    tmp_path: Path, name: str
) -> None:
    """Black and ruff (imports, unused marks, names) find nothing that they did not find before."""
    (tmp_path / "sample.py").write_text('"""Sample."""\n')
    path = tmp_path / "noxfile.py"
    if text := NOXFILES[name]:
        path.write_text(text)
    assert init(tmp_path, "--yes").exit_code == 0
    rules = ["--isolated", "--select", "E,F,I,RUF,B,PLC,ANN"]
    for command in (["ruff", "check", *rules], ["ruff", "format", "--check"], ["black", "--check"]):
        found = subprocess.run(
            [sys.executable, "-m", *command, path.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_a_noxfile_that_is_no_python_is_named(tmp_path: Path) -> None:
    """It cannot be added to, and is not touched."""
    project = LAYOUTS[1].write(tmp_path)
    (project / "noxfile.py").write_text("def (:\n")
    with pytest.raises(UsageError, match=r"noxfile\.py: line 1"):
        list(proposal.changes(project, survey.survey_project(project)))


@pytest.mark.parametrize(
    ("files", "layout", "source", "beside"),
    [
        (["packages/a/a/__init__.py", "packages/b/b/__init__.py"], "workspace", "packages", ()),
        (["libs/a/src/a/__init__.py", "apps/b/src/b/__init__.py"], "workspace", ".", ()),
        (["flit/__init__.py", "flit_core/__init__.py"], "flat", "flit", ("flit_core",)),
        (["tests/a/__init__.py", "run.py"], "scripts", ".", ()),
    ],
)
def test_packages_are_found_where_they_lie(
    tmp_path: Path, files: list[str], layout: str, source: str, beside: tuple[str, ...]
) -> None:
    """Members of a workspace count, and a second package is not left out in silence."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "flit"\n')
    seen = survey.survey_project(tmp_path)
    assert (seen.layout, seen.source, seen.beside) == (layout, source, beside)
    remarks = " ".join(proposal.remarks(tmp_path, seen))
    assert all(name in remarks for name in beside)


def test_line_ends_and_permissions_stay(tmp_path: Path) -> None:
    """A file of another system, or an executable one, stays what it is."""
    project = LAYOUTS[1].write(tmp_path)
    noxfile, ignored = project / "noxfile.py", project / ".gitignore"
    noxfile.write_bytes(b"#!/usr/bin/env python3\r\nimport nox\r\n")
    noxfile.chmod(0o755)
    ignored.write_bytes(b"build/\n")
    assert init(project, "--yes").exit_code == 0
    text = noxfile.read_bytes()
    assert b"sessions.define" in text
    assert text.count(b"\n") == text.count(b"\r\n")
    assert noxfile.stat().st_mode & 0o111
    assert b"\r" not in ignored.read_bytes()


def test_a_file_that_cannot_be_added_to_is_named(tmp_path: Path) -> None:
    """A file that is not UTF-8 is an error with its name, and nothing is written."""
    project = LAYOUTS[1].write(tmp_path)
    (project / ".gitignore").write_bytes(b"caf\xe9\n")
    with pytest.raises(UsageError, match=r"\.gitignore: cannot be read"):
        list(proposal.changes(project, survey.survey_project(project)))
    assert not (project / "noxfile.py").exists()


@by_layout
def test_a_second_run_changes_nothing(tmp_path: Path, layout: Layout) -> None:
    """What init wrote is recognised."""
    project = layout.write(tmp_path)
    init(project, "--yes")
    before = texts(project)
    done = init(project, "--yes", "--json")
    assert json.loads(done.stdout)["proposed"] == []
    assert texts(project) == before


def test_a_table_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    """Limits that somebody chose are not added to, let alone overwritten."""
    project = LAYOUTS[0].write(tmp_path)
    path = project / "pyproject.toml"
    path.write_text(path.read_text() + "\n[tool.mlx-preflight]\ncoverage-min = 12\n")
    init(project, "--yes")
    table = tomllib.loads(path.read_text())["tool"]["mlx-preflight"]
    assert table == {"coverage-min": 12}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no Python file"),
        ({"pyproject.toml": "[", "a.py": ""}, "pyproject.toml"),
        ({"pyproject.toml": "project = 3", "a.py": ""}, "project: expected a table"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """An empty folder and a broken pyproject.toml are named; nothing is written."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        survey.survey_project(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        survey.survey_project(tmp_path / "no-such")


def test_a_project_that_trains_gets_the_whole_plan(tmp_path: Path) -> None:
    """A dependency on the model stack means that there is a model to qualify."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "tuner"\ndependencies = ["mlx-lm>=0.32"]\n'
    )
    (tmp_path / "tuner.py").touch()
    assert survey.survey_project(tmp_path).group == "preflight"


def test_the_table_is_valid_for_every_survey(tmp_path: Path) -> None:
    """Names with quotes and backslashes stay names."""
    seen = survey.Survey("flat", 'a"b\\c', "tests/é", "gates", {"gate7-build": 'a "reason"'})
    (tmp_path / "pyproject.toml").write_text(proposal.table(seen), encoding="utf-8")
    settings = project_table.load_settings(tmp_path)
    assert (settings.source, settings.acceptance) == ('a"b\\c', "tests/é")
    assert settings.off == {"gate7-build": 'a "reason"'}


def red(project: Path, off: frozenset[str]) -> dict[str, str]:
    """Return gate → reason of those that do not pass on a project."""
    settings = dataclasses.replace(
        project_table.load_settings(project), audit_environment="site", audit_database="osv"
    )
    changed: dict[str, Any] = {
        item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)
    }
    checks = {gate: sample.run(project, gate, **changed) for gate in GATES if gate not in off}
    return {
        gate: f"{check.status}: {check.reason}"
        for gate, check in checks.items()
        if check.status is not Status.PASS
    }


@pytest.mark.slow
@by_layout
def test_each_fault_is_caught_by_exactly_its_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    """On every layout: a clean project is green, and one fault turns one gate red."""
    planted = faults(layout)
    projects = {}
    for name, files in {"clean": {}, **planted}.items():
        projects[name] = layout.write(tmp_path / name)
        assert init(projects[name], "--yes").exit_code == 0
        for path, text in files.items():
            (projects[name] / path).parent.mkdir(parents=True, exist_ok=True)
            with (projects[name] / path).open("a", encoding="utf-8") as stream:
                stream.write(text)
    # What the layouts declare is there, as nox would have installed it.
    sample.installed_here(monkeypatch, projects["clean"] / "site")
    with ThreadPoolExecutor(max_workers=2) as pool:
        seen = pool.map(lambda project: red(project, layout.off), projects.values())
        found = dict(zip(projects, seen, strict=True))
    assert {name: set(seen) for name, seen in found.items()} == (
        {"clean": set()} | {gate: {gate} for gate in planted}
    ), found


@pytest.mark.slow
def test_one_gate_of_another_project_prints_its_findings(tmp_path: Path) -> None:
    """`check gate2-lint --project PATH --json` names file and line, and exits 1."""
    project = LAYOUTS[1].write(tmp_path)
    (project / "beta" / "unused.py").write_text("import os\n")
    command = [sys.executable, "-m", "mlx_preflight", "check", "gate2-lint"]
    done = subprocess.run(
        [*command, "--project", str(project), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (check,) = json.loads(done.stdout)["checks"]
    (found,) = check["diagnostics"]
    assert (found["path"], found["line"], found["code"]) == ("beta/unused.py", 1, "F401")


def test_what_is_there_and_does_not_serve_is_named(tmp_path: Path) -> None:
    """A workflow of that name and a noxfile with a choice of its own would hide the gates."""
    layout = LAYOUTS[0]
    project = layout.write(tmp_path)
    workflow = project / ".github" / "workflows" / "preflight.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("name: mine\n")
    (project / "noxfile.py").write_text('import nox\n\nnox.options.sessions = ["lint"]\n')
    done = init(project, "--yes")
    assert "note: .github/workflows/preflight.yml is another workflow" in done.output
    assert "the gates are `nox -s gates`" in done.output
    assert workflow.read_text() == "name: mine\n"
    again = json.loads(init(project, "--yes", "--json").output)
    assert len(again["notes"]) == 2
