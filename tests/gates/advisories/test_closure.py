"""What is audited: a folder, a lock or pins, and how each package came in."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core import judged_environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.gates.advisories import closure
from mlx_preflight.gates.advisories.closure import Closure
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

HERE = judged_environment.inspect()

OTHER_SYSTEM = "sys_platform == 'no-such'"

UV_LOCK = """version = 1
[[package]]
name = "app"
version = "1.0"
source = { editable = "." }
dependencies = [{ name = "web", extra = ["fast"] }, { name = "absent-here" }]
[package.dev-dependencies]
dev = [{ name = "tester" }]
[[package]]
name = "web"
version = "2.0"
dependencies = [{ name = "Wire_Format" }]
[package.optional-dependencies]
fast = [{ name = "speedup" }]
[[package]]
name = "wire-format"
version = "0.3"
[[package]]
name = "speedup"
version = "4"
[[package]]
name = "tester"
version = "9"
"""


def project(folder: Path, name: str = "app") -> Path:
    """Write a project of a name."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(f"[project]\nname = '{name}'\n")
    return folder


def installed(site: Path, name: str, version: str, *needs: str) -> None:
    """Write the metadata of an installed distribution."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {n}" for n in needs)]))


def read(folder: Path, name: str, text: str) -> Closure:
    """Read a lock or pins beside a project."""
    (folder / name).write_text(text)
    return closure.audited_packages(folder, HERE, name)


def test_a_folder_is_audited_whole_but_for_the_project(tmp_path: Path) -> None:
    """All that is installed counts, also what nobody asked for; the way in is known."""
    root = project(tmp_path)
    for name, version, needs in (
        ("app", "1.0", ["web>=2"]),
        ("web", "2.0", ["wire", f"winthing; {OTHER_SYSTEM}"]),
        ("wire", "0.3", []),
        ("stray", "5", []),
    ):
        installed(tmp_path / "site", name, version, *needs)
    found = closure.audited_packages(root, HERE, "site")
    assert found.versions == {"web": "2.0", "wire": "0.3", "stray": "5"}
    assert found.path("wire") == "web > wire"
    assert found.path("stray") == "stray"
    assert found.project == "app"


def test_a_folder_without_the_project_starts_at_what_nobody_needs(tmp_path: Path) -> None:
    """Scripts have no distribution of their own, and their packages still have a way in."""
    installed(tmp_path / "site", "web", "2.0", "wire")
    installed(tmp_path / "site", "wire", "0.3", "web")
    installed(tmp_path / "site", "top", "1", "wire")
    found = closure.audited_packages(tmp_path, HERE, "site")
    assert found.versions == {"top": "1", "web": "2.0", "wire": "0.3"}
    assert found.path("web") == "top > wire > web"


def test_a_broken_folder_is_an_error(tmp_path: Path) -> None:
    """Empty, incomplete, ambiguous or nameless: nothing may be left out in silence."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match="no installed distribution"):
        closure.audited_packages(tmp_path, HERE, "empty")
    installed(tmp_path / "site", "web", "2.0", "wire")
    with pytest.raises(ResultError, match="wire is not installed"):
        closure.audited_packages(tmp_path, HERE, "site")
    installed(tmp_path / "two", "web", "2.0")
    installed(tmp_path / "two", "web", "3.0")
    with pytest.raises(ResultError, match="web is there as"):
        closure.audited_packages(tmp_path, HERE, "two")
    (tmp_path / "nameless" / "x.dist-info").mkdir(parents=True)
    (tmp_path / "nameless" / "x.dist-info" / "METADATA").write_text("Version: 1\n")
    with pytest.raises(ResultError, match="without name or version"):
        closure.audited_packages(tmp_path, HERE, "nameless")


def test_uv_lock_gives_what_the_project_reaches(tmp_path: Path) -> None:
    """Extras that are asked for count, development groups do not."""
    found = read(project(tmp_path), "uv.lock", UV_LOCK)
    assert found.versions == {"web": "2.0", "wire-format": "0.3", "speedup": "4"}
    assert found.path("wire-format") == "web > wire-format"
    assert found.project == "app"


def test_pylock_gives_every_package_that_applies_here(tmp_path: Path) -> None:
    """Markers of other machines leave a package out; one that nobody understands does not."""
    text = "lock-version = '1.0'\n"
    for name, marker in (("web", ""), ("far", OTHER_SYSTEM), ("odd", "'x' in extras")):
        text += f'[[packages]]\nname = "{name}"\nversion = "1"\n'
        text += f'marker = "{marker}"\n' if marker else ""
    assert set(read(tmp_path, "pylock.toml", text).versions) == {"web", "odd"}


def test_pins_are_read_with_hashes_comments_and_markers(tmp_path: Path) -> None:
    """What pip-compile and `uv export` write is understood."""
    text = "# by hand\nweb==2.0 \\\n    --hash=sha256:00\nwire==0.3  # via web\n"
    text += f"far==1 ; {OTHER_SYSTEM}\n"
    assert read(tmp_path, "pins.txt", text).versions == {"web": "2.0", "wire": "0.3"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pins.txt", "web>=2\n", "no exact version"),
        ("pins.txt", "web==2.*\n", "no exact version"),
        ("pins.txt", "-r more.txt\n", "FileNotFoundError.*more.txt"),
        ("uv.lock", "[[package]]\nversion = '1'\n", "KeyError"),
        ("uv.lock", "package = 3\n", "TypeError"),
        ("uv.lock", "not toml", "TOMLDecodeError"),
        ("pylock.toml", "[[packages]]\nname = 'web'\n", "no version of web"),
        (
            "pylock.toml",
            "[[packages]]\nname = 'a'\nversion = '1'\n[[packages]]\nname = 'a'\nversion = '2'\n",
            "locked in two versions",
        ),
    ],
)
def test_what_is_not_resolved_is_an_error(tmp_path: Path, name: str, text: str, words: str) -> None:
    """A range, another file, a wrong shape: each is named instead of audited in part."""
    with pytest.raises(ResultError, match=words):
        read(tmp_path, name, text)


def test_a_missing_environment_is_an_error(tmp_path: Path) -> None:
    """A name that leads nowhere is not an empty environment."""
    with pytest.raises(ResultError, match="FileNotFoundError"):
        closure.audited_packages(tmp_path, HERE, "no-such")
    with pytest.raises(ResultError, match="names no project"):
        closure.audited_packages(tmp_path, HERE)


def test_a_project_of_setup_py_is_known_by_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyproject.toml names nothing, the distribution installed from this folder counts."""
    site = tmp_path / "site"
    installed(site, "oldstyle", "1.0")
    origin = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    (site / "oldstyle-1.0.dist-info" / "direct_url.json").write_text(origin)
    installed(site, "broken", "1.0")
    (site / "broken-1.0.dist-info" / "direct_url.json").write_text("{")
    there = sample.installed_here(monkeypatch, site)
    assert closure.project_name(tmp_path, there) == "oldstyle"


def test_of_scripts_with_a_list_everything_that_is_installed_is_audited(tmp_path: Path) -> None:
    """Also what a listed folder needs; a venv's own pip is nobody's requirement."""
    (tmp_path / "requirements.txt").write_text("web>=1\n-e ./lib\n")
    packages = {
        name: judged_environment.Package(name, "1", requires, "")
        for name, requires in (
            ("web", ("wire",)),
            ("wire", ()),
            ("lib", ("deep", "setuptools")),
            ("deep", ()),
            ("pip", ()),
            ("setuptools", ()),
        )
    }
    found = closure.audited_packages(tmp_path, dataclasses.replace(HERE, packages=packages))
    assert set(found.versions) == {"web", "wire", "lib", "deep", "setuptools"}
    assert found.path("wire") == "web > wire"
    assert found.source == f"all of {HERE.prefix}"
