"""Gates 1 to 3: ways in which black, ruff and mypy look green and prove nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import Status
from mlx_preflight.gates import tool
from mlx_preflight.plan import settings
from mlx_preflight.run.context import Context
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

STATIC = ["gate1-format", "gate2-lint", "gate3-types"]
BAD = 'import os;x: int = (  "a" )\n'


def append(project: Path, table: str) -> None:
    """Add a table to the sample's pyproject.toml."""
    path = project / "pyproject.toml"
    path.write_text(f"{path.read_text()}\n{table}\n")


@pytest.mark.parametrize("gate", STATIC)
def test_generated_state_is_not_judged(tmp_path: Path, gate: str) -> None:
    """Files below the state folder and the venvs do not count, in a project that is no checkout."""
    project = sample.make(tmp_path)
    for folder in (".preflight/artifacts/x", ".nox/lint", ".venv/lib"):
        (project / folder).mkdir(parents=True)
        (project / folder / "bad.py").write_text(BAD)
    check = sample.run(project, gate)
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "files_examined") == 3


def test_ruff_never_mends_what_it_judges(tmp_path: Path) -> None:
    """With `fix = true` ruff would remove the import and report nothing; the gate counts it."""
    project = sample.make(tmp_path, src__sample__extra="import os\n")
    append(project, "[tool.ruff]\nfix = true\nfix-only = true")
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.FAIL
    assert (project / "src" / "sample" / "extra.py").read_text() == "import os\n"


def test_a_file_that_ruff_cannot_read_is_not_a_finding(tmp_path: Path) -> None:
    """E902 is one diagnostic in a thousand accepted ones, and still ERROR."""
    project = sample.make(tmp_path)
    (project / "src" / "sample" / "latin.py").write_bytes(b'NAME = "caf\xe9"\n')
    check = sample.run(project, "gate2-lint", lint_max=1000)
    assert check.status is Status.ERROR
    assert "latin.py" in check.reason


def test_ruffs_own_exclusions_stay_in_force(tmp_path: Path) -> None:
    """The state folder is added to what the project excludes, and replaces nothing."""
    project = sample.make(tmp_path, generated__bad=BAD)
    append(project, '[tool.ruff]\nextend-exclude = ["generated"]')
    assert sample.run(project, "gate2-lint").status is Status.PASS


@pytest.mark.parametrize("select", ["select = []", 'select = ["E", "F"]\nignore = ["E", "F"]'])
def test_ruff_without_a_rule_proves_nothing(tmp_path: Path, select: str) -> None:
    """A configuration that selects no rule finds nothing in any file, and is ERROR."""
    project = sample.make(tmp_path, src__sample__extra="import os\n")
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace('select = ["E", "F"]', select))
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.ERROR
    assert "ruff has no rule selected" in check.reason


@pytest.mark.parametrize("where", ["pyproject.toml", "mypy.ini"])
def test_mypy_that_ignores_every_error_proves_nothing(tmp_path: Path, where: str) -> None:
    """`ignore_errors` for the whole project is ERROR; for some modules it is a suppression."""
    project = sample.make(tmp_path, src__sample__extra='X: int = "a"\n')
    if where == "mypy.ini":
        (project / where).write_text("[mypy]\nignore_errors = True\n")
    else:
        append(project, "[tool.mypy]\nignore_errors = true")
    check = sample.run(project, "gate3-types")
    assert check.status is Status.ERROR
    assert "ignore_errors" in check.reason


def test_mypy_counts_its_files_although_the_project_hides_the_summary(tmp_path: Path) -> None:
    """`error_summary = false` and colours of a project do not blind the gate."""
    project = sample.make(tmp_path, src__sample__extra='NUMBER: int = "one"\n')
    append(project, "[tool.mypy]\nerror_summary = false\npretty = true\ncolor_output = true")
    check = sample.run(project, "gate3-types", types_max=1)
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "files_examined") == 4


def test_notes_of_mypy_are_not_errors(tmp_path: Path) -> None:
    """Only `severity == "error"` counts."""
    project = sample.make(tmp_path, src__sample__extra="reveal_type(1)\n")
    check = sample.run(project, "gate3-types")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "errors") == 0


@pytest.mark.parametrize("gate", STATIC)
def test_colours_forced_by_a_shell_change_nothing(
    tmp_path: Path, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI systems set FORCE_COLOR; the output is still read."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "MYPY_FORCE_COLOR"):
        monkeypatch.setenv(name, "1")
    check = sample.run(sample.make(tmp_path), gate)
    assert check.status is Status.PASS, check.reason
    assert float(sample.value(check, "duration_s")) > 0
    assert str(sample.value(check, "tool")).count(".") == 2


def test_a_tool_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    """The message names the tool and the venv that lacks it."""
    context = Context.of(tmp_path, settings.ProjectSettings(), run_id="r1")
    with pytest.raises(ChildError, match=f"no-such-tool is not installed in {sys.prefix}"):
        tool.run(context, "no_such_tool")


def test_a_crash_of_mypy_is_an_error_with_its_cause(tmp_path: Path) -> None:
    """Exit 2 is no verdict, and the last line of the traceback is in the reason."""
    project = sample.make(tmp_path)
    hook = "def get_function_hook(self, name):\n        raise RuntimeError('boom')"
    (project / "crash.py").write_text(
        f"from mypy.plugin import Plugin\n\n\nclass Crash(Plugin):\n    {hook}\n\n\n"
        "def plugin(version):\n    return Crash\n"
    )
    (project / "calls.py").write_text("print(len('a'))\n")
    append(project, '[tool.mypy]\nplugins = ["crash.py"]')
    check = sample.run(project, "gate3-types")
    assert check.status is Status.ERROR
    assert "RuntimeError: boom" in check.reason


def test_the_cache_of_mypy_is_no_database(tmp_path: Path) -> None:
    """Its SQLite cache is now and then locked, and mypy then looks at nothing."""
    project = sample.make(tmp_path)
    session, context = sample.session_and_context(project, "gate3-types")
    assert sample.run(project, "gate3-types").status is Status.PASS
    cache = (context.scratch(session.id) / "cache").resolve()
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert kept
    assert not [path.name for path in kept if ".db" in path.name]
