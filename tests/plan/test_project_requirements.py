"""What a project's tests need, wherever it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_preflight.core.errors import UsageError
from mlx_preflight.plan import project_requirements, tool_requirements

PROJECT = '[project]\nname = "sample"\n'

POETRY = """[tool.poetry.group.dev.dependencies]
pytest = "^7.2"
pytest-mock = { version = "~3.9", extras = ["a"] }
"""


def needed(folder: Path, table: str) -> list[str]:
    """Return what is installed for the tests of a project, beside the project itself."""
    (folder / "pyproject.toml").write_text(PROJECT + table)
    return project_requirements.find(folder, tests=True).arguments[2:]


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (POETRY, ["pytest>=7.2,<8", "pytest-mock[a]>=3.9,<3.10"]),
        ('[tool.poetry.dev-dependencies]\npytest = "*"\n', ["pytest"]),
        ('[tool.uv]\ndev-dependencies = ["pytest-mock>=3"]\n', ["pytest-mock>=3"]),
        ('[tool.pdm.dev-dependencies]\ntest = ["pytest-mock"]\nlint = ["ruff"]\n', ["pytest-mock"]),
        ('[tool.hatch.envs.test]\ndependencies = ["pytest-mock"]\n', ["pytest-mock"]),
        ('[tool.mlx-preflight]\ntests-install = ["pytest-mock"]\n', ["pytest-mock"]),
    ],
)
def test_tables_of_one_tool_are_read(tmp_path: Path, table: str, wanted: list[str]) -> None:
    """What only poetry, uv, PDM or Hatch reads is installed as they would."""
    assert needed(tmp_path, table) == wanted


def test_deps_of_tox_are_read(tmp_path: Path) -> None:
    """Plain requirements of `[testenv]` count; factors, lists and variables are tox's."""
    (tmp_path / "tox.ini").write_text(
        "[testenv]\ndeps =\n    pytest-mock>=3\n    py39: old\n    -r list.txt\n    {env:MORE}\n"
    )
    assert needed(tmp_path, "") == ["pytest-mock>=3"]


def test_a_group_of_every_installer_comes_first(tmp_path: Path) -> None:
    """A dependency group is not mixed with the table of one tool; the settings are added."""
    table = (
        '[dependency-groups]\ntest = ["pytest-mock"]\n[tool.uv]\ndev-dependencies = ["other"]\n'
        '[tool.mlx-preflight]\ntests-install = ["more"]\n'
    )
    assert needed(tmp_path, table) == ["--group", "test", "more"]


def test_named_groups_and_extras_replace_the_usual_ones(tmp_path: Path) -> None:
    """A name is a group or an extra; several are installed together."""
    table = (
        '[project.optional-dependencies]\nfast = ["numpy"]\n'
        '[dependency-groups]\ntest = ["a"]\nqa = ["b"]\n'
        '[tool.mlx-preflight]\ntests-groups = ["qa", "fast"]\n'
    )
    (tmp_path / "pyproject.toml").write_text(PROJECT + table)
    found = project_requirements.find(tmp_path, tests=True)
    assert found.arguments == ["-e", ".[fast]", "--group", "qa"]
    assert list(found.lines()) == ["b"]
    assert project_requirements.find(tmp_path, tests=False).arguments == ["-e", "."]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('tests-groups = ["tset"]', "did you mean 'test'"),
        ('tests-groups = "test"', "expected a list"),
        ('tests-install = ["--index-url=http://elsewhere"]', "expected a list of names"),
        ('tests-install = ["../other"]', "expected a list of names"),
        ("tests-install = [3]", "expected a list of names"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, line: str, words: str) -> None:
    """No group is left out in silence, and no option reaches the installer."""
    table = f'[dependency-groups]\ntest = ["a"]\n[tool.mlx-preflight]\n{line}\n'
    with pytest.raises(UsageError, match=words):
        needed(tmp_path, table)


@pytest.mark.parametrize(
    ("poetry", "wanted"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0", ">=0,<1"),
        ("~1", ">=1,<2"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~=1.2", "~=1.2"),
        (">=1,<3", ">=1,<3"),
        (">=1 <3", ">=1,<3"),
        ("1.2", "==1.2"),
        ("1.*", "==1.*"),
        ("*", ""),
        ("^6.2 || ^7", ">=6.2"),
    ],
)
def test_versions_of_poetry_are_translated(poetry: str, wanted: str) -> None:
    """As its documentation says."""
    assert tool_requirements.pep440(poetry) == wanted
