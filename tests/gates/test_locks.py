"""A lock, pins or a folder that is older than its project is an error, a fresh one is none."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.gates.advisories import closure
from tests.gates.advisories.test_closure import HERE, installed

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """[project]
name = "app"
version = "1.0"
dependencies = ["web>=2,<3", "git-made"]
[project.optional-dependencies]
fast = ["speedup~=4.0"]
[tool.uv.sources]
git-made = { git = "https://x.invalid/made" }
"""

LOCK = """version = 1
[[package]]
name = "app"
version = "1.0"
source = { editable = "." }
dependencies = [{ name = "web" }, { name = "git-made" }]
[package.metadata]
requires-dist = [
    { name = "web", specifier = ">=2.0,<3" },
    { name = "speedup", marker = "extra == 'fast'", specifier = "~=4.0" },
    { name = "git-made", git = "https://x.invalid/made" },
]
[[package]]
name = "web"
version = "2.1"
[[package]]
name = "speedup"
version = "4.2"
[[package]]
name = "git-made"
version = "0.1"
"""

PYLOCK = """lock-version = "1.0"
[[packages]]
name = "web"
version = "2.1"
[[packages]]
name = "git-made"
version = "0.1"
"""

PINS = "web==2.1\ngit-made==0.1\n"

FRESH = {"uv.lock": LOCK, "pylock.toml": PYLOCK, "requirements.txt": PINS}


def audited(folder: Path, name: str, table: str = TABLE) -> closure.Closure:
    """Read one of the locks beside a project."""
    (folder / "pyproject.toml").write_text(table)
    (folder / name).write_text(FRESH[name])
    return closure.audited_packages(folder, HERE, name)


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_one_is_read(tmp_path: Path, name: str) -> None:
    """The same versions in other words, and sources of the project's own, are no difference."""
    assert audited(tmp_path, name).versions == {"web": "2.1", "git-made": "0.1"}


@pytest.mark.parametrize("name", FRESH)
@pytest.mark.parametrize(
    ("now", "words"),
    [
        ('"web==1.0"', "web==1.0 is declared"),
        ('"web>=2,<3", "jinja2==2.10"', "jinja2==2.10 is declared"),
    ],
)
def test_an_older_one_is_named_with_the_command(
    tmp_path: Path, name: str, now: str, words: str
) -> None:
    """What pyproject.toml asks for today is not what was resolved then."""
    with pytest.raises(ResultError, match=words) as caught:
        audited(tmp_path, name, TABLE.replace('"web>=2,<3"', now))
    assert "uv " in caught.value.hint


def test_uv_lock_is_stale_also_where_its_versions_still_serve(tmp_path: Path) -> None:
    """A requirement that was dropped or loosened since changes what a resolution gives."""
    with pytest.raises(ResultError, match="git-made was declared then"):
        audited(tmp_path, "uv.lock", TABLE.replace(', "git-made"', ""))
    with pytest.raises(ResultError, match="web>=1 is declared, not locked"):
        audited(tmp_path, "uv.lock", TABLE.replace("web>=2,<3", "web>=1"))
    with pytest.raises(ResultError, match="no entry of other"):
        audited(tmp_path, "uv.lock", TABLE.replace('name = "app"', 'name = "other"'))


FORKED = """version = 1
[manifest]
constraints = [{ name = "web", specifier = "<9" }]
[[package]]
name = "app"
version = "1.0"
source = { editable = "." }
dependencies = [{ name = "web" }, { name = "beside" }]
[package.metadata]
requires-dist = [
    { name = "web", extras = ["fast"], specifier = ">=2" },
    { name = "beside", editable = "packages/beside" },
]
[[package]]
name = "web"
version = "2.1"
resolution-markers = ["python_full_version >= '3.11'"]
[[package]]
name = "web"
version = "2.0"
resolution-markers = ["python_full_version < '3.11'"]
[[package]]
name = "beside"
source = { editable = "packages/beside" }
"""

FORKED_TABLE = """[project]
name = "app"
version = "1.0"
dependencies = ["web[Fast]>=2", "beside>=3"]
[tool.uv]
constraint-dependencies = ["web<9"]
[tool.uv.sources]
beside = { workspace = true }
web = [{ index = "one", marker = "os_name == 'nt'" }, { index = "two" }]
"""


@pytest.fixture(name="forked")
def _forked(tmp_path: Path) -> Path:
    """Return a workspace whose lock has a fork, an extra, a constraint and a member."""
    member = tmp_path / "packages" / "beside"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text("[project]\nname = 'beside'\nversion = '0.3'\n")
    (tmp_path / "pyproject.toml").write_text(FORKED_TABLE)
    (tmp_path / "uv.lock").write_text(FORKED)
    return tmp_path


def test_a_fork_is_read_for_this_python_and_a_member_as_it_says_itself(forked: Path) -> None:
    """A member counts whatever version it has, so the version that is asked for is no matter."""
    found = closure.audited_packages(forked, HERE, "uv.lock")
    assert found.versions == {"web": "2.1", "beside": "0.3"}
    pylock = """lock-version = "1.0"
[[packages]]
name = "web"
version = "2.1"
[[packages]]
name = "beside"
directory = { path = "packages/beside", editable = true }
"""
    (forked / "pylock.toml").write_text(pylock)
    assert closure.audited_packages(forked, HERE, "pylock.toml").versions == found.versions


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ("web[Fast]", "web", r"web\[fast\]>=2 was declared then"),
        ("web[Fast]", "web[fast,more]", r"web\[fast,more\]>=2 is declared, not locked"),
        ('["web<9"]', '["web<8"]', "the constraint web<8 is not in uv.lock"),
        ("beside = { workspace = true }", "", "beside>=3 is declared, not locked"),
    ],
)
def test_extras_constraints_and_sources_are_a_part_of_what_was_locked(
    forked: Path, then: str, now: str, words: str
) -> None:
    """Each brings other packages, or another version, than the lock holds."""
    assert then in FORKED_TABLE
    (forked / "pyproject.toml").write_text(FORKED_TABLE.replace(then, now))
    with pytest.raises(ResultError, match=words):
        closure.audited_packages(forked, HERE, "uv.lock")


def test_pins_are_read_as_uv_and_pip_tools_write_them(forked: Path) -> None:
    """Options, includes, constraints and the project's own folders are no unpinned package."""
    (forked / "base.txt").write_text("web[fast]==2.1 \\\n    --hash=sha256:00\n")
    lines = [
        *("--index-url https://x.invalid/simple", "-c constraints.txt", "-r base.txt", "-e ."),
        *("-e ./packages/beside ; os_name != 'nt'", "# why", ""),
    ]
    pins = forked / "pins.txt"
    for folder in ("", "packages/beside", (forked / "packages" / "beside").as_uri()):
        pins.write_text("\n".join([*lines, folder]))
        assert closure.audited_packages(forked, HERE, "pins.txt").versions == {
            "web": "2.1",
            "beside": "0.3",
        }
    pins.write_text("-e ./elsewhere\n")
    with pytest.raises(ResultError, match="states no version"):
        closure.audited_packages(forked, HERE, "pins.txt")


def test_an_older_folder_is_named(tmp_path: Path) -> None:
    """A site-packages folder can be as old as a lock."""
    (tmp_path / "pyproject.toml").write_text(TABLE)
    installed(tmp_path / "site", "web", "1.0")
    installed(tmp_path / "site", "git_made", "0.1")
    with pytest.raises(ResultError, match=r"web<3,>=2 is declared, 1\.0 is in it"):
        closure.audited_packages(tmp_path, HERE, "site")


@pytest.mark.slow
def test_what_only_a_build_knows_is_asked_of_uv(tmp_path: Path) -> None:
    """Dynamic dependencies stand in no file, so uv compares; its answer is the reason."""
    (tmp_path / "setup.py").write_text("from setuptools import setup\nsetup(name='app')\n")
    with pytest.raises(ResultError, match="uv lock --check` exited"):
        audited(
            tmp_path, "uv.lock", "[project]\nname = 'app'\ndynamic = ['version', 'dependencies']\n"
        )


@pytest.mark.slow
def test_a_file_that_setuptools_reads_makes_a_lock_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uv remembers of an earlier build does not count, and uv need not be on PATH."""
    table = """[project]
name = "app"
version = "1.0"
requires-python = ">=3.11"
dynamic = ["dependencies"]
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = []
dynamic.dependencies = { file = ["run.in"] }
"""
    (tmp_path / "pyproject.toml").write_text(table)
    (tmp_path / "run.in").write_text("idna==3.7\n")
    subprocess.run([sys.executable, "-m", "uv", "lock"], cwd=tmp_path, check=True, timeout=120)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert closure.audited_packages(tmp_path, HERE, "uv.lock").versions == {"idna": "3.7"}
    (tmp_path / "run.in").write_text("idna==2.8\n")
    with pytest.raises(ResultError, match="needs to be updated"):
        closure.audited_packages(tmp_path, HERE, "uv.lock")
