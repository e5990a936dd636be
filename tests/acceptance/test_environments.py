"""What nox installs: the harness apart, the project alone, whatever brought this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.adopt.baselines import HARNESS
from mlx_preflight.sessions.venv import sentence, way_out
from tests.acceptance.test_nox import ROOT, environment, make, nox

if TYPE_CHECKING:
    from pathlib import Path

UV_SAYS = """Resolved in 3ms
  \u00d7 No solution found when resolving dependencies:
  \u2570\u2500\u25b6 Because sample depends on pytest<7 and you require pytest>=7.4, we can
      conclude that your requirements are unsatisfiable.
""".splitlines()

PIP_SAYS = """Collecting pytest<7
ERROR: Cannot install sample and pytest>=7.4 because these package versions conflict.
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io
""".splitlines()


def result(project: Path, session: str) -> dict[str, Any]:
    """Return a session's result."""
    path = project / ".preflight" / "results" / f"{session}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def declare(project: Path, line: str, tests: str = '"pytest>=8.4,<10"') -> None:
    """Let the sample need something at run time, and for its tests."""
    table = project / "pyproject.toml"
    text = table.read_text().replace("dependencies = []", f"dependencies = [{line}]")
    table.write_text(text.replace('tests = ["pytest>=8.4,<10"]', f"tests = [{tests}]"))


def test_the_reason_of_an_installation_is_the_resolvers_sentence() -> None:
    """Without the frame that it is drawn in, and without what went before."""
    assert sentence(UV_SAYS).startswith("No solution found when resolving dependencies: Because")
    assert sentence(UV_SAYS).endswith("your requirements are unsatisfiable.")
    assert sentence(PIP_SAYS).startswith("Cannot install sample and pytest>=7.4 because")
    assert sentence(["Audited 3 packages"]) == ""
    assert "loosen" in way_out(sentence(UV_SAYS))
    built = "Failed to build `app` cause: Multiple top-level modules discovered in a flat-layout"
    assert "pip install -e ." in way_out(sentence([f"error: {built}"]))


@pytest.mark.slow
def test_a_pin_that_the_harness_needs_too_is_what_is_judged(tmp_path: Path) -> None:
    """The project's version runs its tests and is audited; the harness keeps its own."""
    project = make(tmp_path)
    declare(project, '"packaging==24.0", "jinja2==2.10"')
    (project / "tests" / "test_add.py").write_text(
        '"""Test the pin."""\n\nimport importlib.metadata\n\n\ndef test_pin() -> None:\n'
        '    """It is what runs."""\n    assert importlib.metadata.version("packaging") == "24.0"\n'
    )
    advisory = {
        "id": "PYSEC-2019-217",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"name": "jinja2", "ecosystem": "PyPI"},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}
                ],
            }
        ],
    }
    (project / "known").mkdir()
    (project / "known" / "PYSEC-2019-217.json").write_text(json.dumps(advisory))
    with (project / "pyproject.toml").open("a") as table:
        table.write('audit-database = "known"\nmax-advisory-age-days = 100000\n')
    done = nox(project, "-s", "gate4-unit", "gate8-audit")
    assert done.returncode != 0
    unit, audit = result(project, "gate4-unit"), result(project, "gate8-audit")
    assert unit["status"] == "PASS", unit["checks"]
    assert audit["status"] == "FAIL"
    assert "jinja2 2.10: PYSEC-2019-217" in audit["checks"][0]["reason"]
    for found in (unit, audit):
        assert found["environment"]["judged"]["packages"]["packaging"] == "24.0"
        assert "typer" not in found["environment"]["judged"]["packages"]
    assert audit["environment"]["judged"]["path"] == ".nox/gate8-audit"
    code = "import importlib.metadata as m; print(m.version('jinja2'), m.version('rich'))"
    said = subprocess.run(
        [project / HARNESS, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("3.")
    report = nox(project, "-s", "summary")
    assert report.returncode != 0
    text = (project / ".preflight" / "report.md").read_text()
    assert "gate4-unit judged .nox/gate4-unit" in text.replace("\\", "")


@pytest.mark.slow
def test_a_conflict_with_a_gates_tool_is_said_in_the_resolvers_words(tmp_path: Path) -> None:
    """The project's constraint stays; the result names both sides and a way out."""
    project = make(tmp_path)
    declare(project, "", '"pytest==6.2.5"')
    assert nox(project, "-s", "gate4-unit").returncode != 0
    (check,) = result(project, "gate4-unit")["checks"]
    assert check["status"] == "ERROR"
    assert "pytest==6.2.5" in check["reason"]
    assert "unsatisfiable" in check["reason"]
    assert "loosen" in check["remedy"]


@pytest.mark.slow
def test_what_is_declared_no_more_is_not_imported_any_more(tmp_path: Path) -> None:
    """A reused venv is emptied when the declaration changes; one that broke is made again."""
    project = make(tmp_path)
    declare(project, '"pyyaml"')
    test = project / "tests" / "test_add.py"
    test.write_text('"""Test."""\n\nimport yaml\n\n\ndef test_it() -> None:\n    assert yaml\n')
    assert nox(project, "-s", "gate4-unit").returncode == 0
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace('"pyyaml"', ""))
    assert nox(project, "-s", "gate4-unit").returncode != 0
    assert "No module named 'yaml'" in result(project, "gate4-unit")["checks"][0]["reason"]
    for venv in (project / ".nox" / "gate4-unit", (project / HARNESS).parents[1]):
        (venv / "mlx-preflight-installed.json").unlink()
    test.write_text('"""Test."""\n\n\ndef test_it() -> None:\n    assert True\n')
    assert nox(project, "-s", "gate4-unit").returncode == 0


@pytest.mark.slow
def test_without_a_venv_nothing_is_judged_and_no_traceback_shown(tmp_path: Path) -> None:
    """What nox cannot make is a sentence with a way out."""
    project = make(tmp_path)
    done = nox(project, "--no-venv", "-s", "gate4-unit")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    (check,) = result(project, "gate4-unit")["checks"]
    assert "nox was told to make none" in check["reason"]
    assert "check gate4-unit --python" in check["remedy"]
    (project / ".nox" / ".cache" / "mlx-preflight" / "lock").unlink()
    (project / ".nox" / ".cache" / "mlx-preflight" / "lock").mkdir()
    done = nox(project, "-s", "gate1-format")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "the venv of the harness cannot be made" in done.stderr


@pytest.mark.slow
def test_sessions_of_the_projects_own_stay_as_they_were(tmp_path: Path) -> None:
    """Its backend and its use of outside programs are the project's matter."""
    project = make(tmp_path)
    with (project / "noxfile.py").open("a") as stream:
        stream.write(
            "\nimport nox\n\n\n@nox.session(default=False)\ndef own(session):\n"
            '    session.run("git", "--version")\n'
            "    print(type(session.virtualenv).__name__, session.virtualenv.venv_backend)\n"
        )
    done = nox(project, "-s", "own")
    assert done.returncode == 0, done.stderr
    assert "VirtualEnv virtualenv" in done.stdout


@pytest.mark.slow
def test_a_package_from_a_wheel_file_serves_another_project(tmp_path: Path) -> None:
    """No index is asked for this package, and nothing beside it becomes importable."""
    venv, dist = tmp_path / "venv", tmp_path / "dist"
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(dist), str(ROOT)]
    make_venv = ["uv", "venv", "--quiet", "--python", sys.executable, str(venv)]
    for command in (build, make_venv):
        subprocess.run(command, check=True, timeout=120)
    python = str(venv / "bin" / "python")
    (wheel,) = dist.glob("*.whl")
    install = ["uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "nox", "uv"], check=True, timeout=120)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, timeout=120)
    project = make(tmp_path / "project")
    noxfile = project / "noxfile.py"
    noxfile.write_text(noxfile.read_text().replace("sys.path.insert", "# sys.path.insert"))
    done = subprocess.run(
        [python, "-m", "nox", "-s", "gate1-format", "gate4-unit"],
        cwd=project,
        env={**environment(), "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result(project, "gate4-unit")["status"] == "PASS", done.stderr
    code = "import mlx_preflight; print(mlx_preflight.__version__); import nox"
    said = subprocess.run(
        [project / HARNESS, "-c", code], capture_output=True, text=True, check=False
    )
    assert said.stdout.strip()
    assert "No module named 'nox'" in said.stderr
