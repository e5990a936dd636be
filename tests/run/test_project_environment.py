"""An environment that is not the one a project declares is named, requirement by requirement."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core import judged_environment
from mlx_preflight.core.errors import ChildError, UsageError
from mlx_preflight.core.judged_environment import Environment, Package
from mlx_preflight.core.result import Status
from mlx_preflight.plan import project_requirements
from mlx_preflight.run import project_environment
from mlx_preflight.run.session import run_session
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

HERE = judged_environment.inspect()


def there(**versions: str) -> Environment:
    """Return an environment that holds these packages only."""
    known = {name: Package(name, version, (), "") for name, version in versions.items()}
    return dataclasses.replace(HERE, packages=known)


def project(folder: Path, text: str, **files: str) -> Path:
    """Write a project's table and further files."""
    (folder / "pyproject.toml").write_text(text)
    for name, content in files.items():
        (folder / name.replace("__", "-")).with_suffix(".txt").write_text(content)
    return folder


TABLE = """[project]
name = "app"
version = "1"
dependencies = ["web==2.0", "far==1; sys_platform == 'no-such'", "made @ https://x.invalid/m.whl"]
[project.optional-dependencies]
tests = ["app[more]", "checker>=3"]
more = ["extra-one<2"]
"""


def test_a_met_declaration_has_no_difference(tmp_path: Path) -> None:
    """Markers of other machines do not count, of an address the presence does."""
    root = project(tmp_path, TABLE)
    assert project_environment.differences(root, there(web="2.0", made="9"), tests=False) == []


def test_each_difference_is_named(tmp_path: Path) -> None:
    """A replaced pin and a missing package, also through an extra of the project's own."""
    root = project(tmp_path, TABLE)
    found = there(web="3.1.6", made="1", checker="3.1", **{"extra-one": "2.5"})
    assert project_environment.differences(root, found, tests=True) == [
        "web==2.0 is declared, web 3.1.6 is installed",
        "extra-one<2 is declared, extra-one 2.5 is installed",
    ]
    assert "made @ https" in project_environment.differences(root, there(web="2.0"), tests=False)[0]


def test_a_prerelease_that_was_installed_counts_by_its_number(tmp_path: Path) -> None:
    """Whether it may be chosen is the resolver's decision, not a difference."""
    root = project(tmp_path, "[project]\nname = 'app'\nversion = '1'\ndependencies = ['web>=2']\n")
    assert project_environment.differences(root, there(web="3.0rc1"), tests=False) == []


DYNAMIC = """[project]
name = "app"
dynamic = ["dependencies"]
[tool.setuptools.dynamic]
optional-dependencies.tests = { file = ["t.in"] }
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.cfg", "[metadata]\nname = app\n[options.extras_require]\ntests =\n  checker>=3\n"),
        ("pyproject.toml", "[build-system]\n[tool.poetry.extras]\ntests = ['checker']\n"),
        ("pyproject.toml", DYNAMIC),
    ],
)
def test_an_extra_that_only_the_build_backend_reads_is_installed_and_compared(
    tmp_path: Path, name: str, text: str
) -> None:
    """What the tests need stands in setup.cfg, in poetry's table or in a file just as well."""
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    (tmp_path / name).write_text(text)
    assert project_requirements.find(tmp_path, tests=True).arguments == ["-e", ".[tests]"]
    assert project_requirements.find(tmp_path, tests=False).arguments == ["-e", "."]
    requires = ("web==2.0", "checker>=3; extra == 'tests'", "docs; extra == 'docs'")
    own = Package("app", "1", requires, tmp_path.resolve().as_uri())
    found = there(web="2.0", checker="2")
    found = dataclasses.replace(found, packages={**found.packages, "app": own})
    assert project_environment.differences(tmp_path, found, tests=False) == []
    assert project_environment.differences(tmp_path, found, tests=True) == [
        'checker>=3; extra == "tests" is declared, checker 2 is installed'
    ]


def test_everything_that_requirements_stand_in_is_seen_to_change(tmp_path: Path) -> None:
    """Included lists, constraints and the files that setuptools reads empty a reused venv."""
    text = (
        "[project]\nname = 'app'\n[tool.setuptools.dynamic]\ndependencies = { file = 'run.in' }\n"
    )
    root = project(tmp_path, text, requirements__test="-r more.txt\n-c known.txt\n-r https://x/y\n")
    for name in ("run.in", "more.txt", "known.txt"):
        (root / name).write_text("a==1\n")
    before = project_requirements.find(root, tests=True)
    assert list(before.lines()) == ["a==1"]
    for name in ("run.in", "more.txt", "known.txt"):
        texts = before.texts
        (root / name).write_text("a==2\n")
        assert before.texts != texts


def test_the_version_of_a_source_of_uv_is_no_difference(tmp_path: Path) -> None:
    """It comes from its address whatever version that has; from an index it is compared."""
    text = TABLE.replace(
        "[project.optional", "[tool.uv.sources]\nweb = { path = 'w' }\n[project.optional"
    )
    root = project(tmp_path, text)
    found = there(web="1.9", made="9")
    assert project_environment.differences(root, found, tests=False) == [
        "web==2.0 is declared, web 1.9 is installed"
    ]
    local = {**found.packages, "web": Package("web", "1.9", (), "file:///w")}
    assert (
        project_environment.differences(
            root, dataclasses.replace(found, packages=local), tests=False
        )
        == []
    )
    listed = text.replace("{ path = 'w' }", "[{ index = 'one' }, { index = 'two' }]")
    root = project(tmp_path, listed)
    assert project_environment.differences(
        root, dataclasses.replace(found, packages=local), tests=False
    )


def test_groups_and_lists_count_with_what_they_include(tmp_path: Path) -> None:
    """Dependency groups include others, lists name others."""
    text = """[dependency-groups]
test = [{ include-group = "low_level" }, "upper>1"]
low-level = ["lower==1"]
"""
    root = project(tmp_path, text, requirements__test="-r more.txt\nlisted==1 # why\n-e .\n")
    (tmp_path / "more.txt").write_text("nested==4 \\\n    --hash=sha256:00\n")
    found = project_environment.differences(root, there(), tests=True)
    assert [line.split(" is declared")[0] for line in found] == [
        "lower==1",
        "upper>1",
        "nested==4",
        "listed==1",
    ]
    assert project_environment.differences(root, there(), tests=False) == []


def test_what_uv_installs_instead_counts(tmp_path: Path) -> None:
    """An override of uv replaces the requirement, also for the comparison."""
    root = project(tmp_path, f"{TABLE}[tool.uv]\noverride-dependencies = ['web==5']\n")
    assert project_environment.differences(root, there(web="5", made="1"), tests=False) == []


def test_metadata_speaks_where_pyproject_does_not(tmp_path: Path) -> None:
    """Dynamic dependencies stand in what was installed from the project."""
    root = project(tmp_path, "[project]\nname = 'app'\ndynamic = ['version', 'dependencies']\n")
    own = Package("app", "1", ("web==2", "checker; extra == 'tests'"), "")
    found = dataclasses.replace(HERE, packages={**there(web="3").packages, "app": own})
    assert project_environment.differences(root, found, tests=False) == [
        "web==2 is declared, web 3 is installed"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project]\nname = 'a'\ndependencies = ['web=>2']\n", "is no requirement"),
        ("[dependency-groups]\ntest = 3\n", "expected a list"),
        ("[dependency-groups]\ntest = [{ include-group = 'test' }]\n", "expected a list"),
        ("[dependency-groups]\ntest = [3]\n", "dependency-groups: test: 3"),
        ("project = 3\n", "expected a table"),
        ("[project", "pyproject.toml"),
    ],
)
def test_what_cannot_be_read_is_no_agreement(tmp_path: Path, text: str, words: str) -> None:
    """A declaration that nobody understands is an error."""
    with pytest.raises(UsageError, match=words):
        project_environment.differences(project(tmp_path, text), there(), tests=True)


def test_a_gate_judges_nothing_in_another_environment(tmp_path: Path) -> None:
    """The difference is the result, before anything runs; what is installed stands beside it."""
    root = sample.make(tmp_path)
    table = root / "pyproject.toml"
    table.write_text(
        table.read_text().replace('version = "1.0"', 'version = "1.0"\ndependencies = ["pytest<8"]')
    )
    session, context = sample.session_and_context(root, "gate4-unit")
    found = run_session(session, context)
    (check,) = found.checks
    assert check.status is Status.ERROR
    assert "pytest<8 is declared, pytest " in check.reason
    judged = found.environment["judged"]
    assert judged["packages"]["pytest"] == HERE.version("pytest")
    assert judged["count"] == len(judged["packages"])
    assert len(judged["digest"]) == 64


def test_an_interpreter_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """A program that is no Python, and one that is not there."""
    with pytest.raises(ChildError, match="does not say what is installed"):
        judged_environment.inspect(tmp_path.__class__("/bin/true"))
    for path in (tmp_path / "python", tmp_path):
        with pytest.raises(ChildError, match="cannot start") as caught:
            judged_environment.inspect(path)
        assert "--python" in caught.value.hint
