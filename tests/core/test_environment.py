"""What a result says about the machine and the commit is true, or unknown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlx_preflight.core import environment

UNKNOWN = {"commit": None, "dirty": None}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_the_machine_is_described_in_plain_json() -> None:
    """Every value is there, JSON can hold it, and none is an environment variable."""
    found = environment.capture()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["cpu_count"] >= 1
    assert found["memory_bytes"] > 1e8
    assert all(found[key] for key in ("system", "machine", "processor", "python"))


def test_only_installed_packages_have_a_version() -> None:
    """A package that this venv lacks is absent, not empty."""
    assert all(environment.capture()["packages"].values())


def test_a_clean_checkout(checkout: Path) -> None:
    """The commit is the checked-out one, and nothing differs."""
    assert environment.git(checkout) == {
        "commit": git(checkout, "rev-parse", "HEAD"),
        "dirty": False,
    }


@pytest.mark.parametrize("name", ["file", "new"])
def test_a_changed_or_new_file_is_dirty(checkout: Path, name: str) -> None:
    """A modified file and an untracked one both mean that the commit is not what was judged."""
    (checkout / name).write_text("two", encoding="utf-8")
    assert environment.git(checkout)["dirty"] is True


def test_no_commit_yet_is_unknown(tmp_path: Path) -> None:
    """A repository without a commit is unknown, never clean."""
    git(tmp_path, "init", "-q")
    assert environment.git(tmp_path) == UNKNOWN


def test_no_repository_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without git is unknown, never clean."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git(tmp_path) == UNKNOWN


def test_no_git_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git is unknown, never clean."""
    monkeypatch.setenv("PATH", str(checkout))
    assert environment.git(checkout) == UNKNOWN
