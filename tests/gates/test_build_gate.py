"""Gate 7: the real build on a real project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.plan import settings
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path


def test_a_package_builds_with_digests(tmp_path: Path) -> None:
    """Sdist and wheel are built outside the project's dist folder, with their digests."""
    project = sample.make(tmp_path)
    check = sample.run(project, "gate7-build")
    assert check.status is Status.PASS, check.reason
    assert len(str(sample.value(check, "wheel_sha256"))) == 64
    assert not (project / "dist").exists()


@pytest.mark.slow
def test_an_empty_wheel_fails_although_the_build_exits_0(tmp_path: Path) -> None:
    """A wheel without its package is refused; hatchling builds it without a word."""
    project = sample.make(tmp_path)
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace("src/sample", "src/none"))
    check = sample.run(project, "gate7-build")
    assert check.status is Status.FAIL
    assert "holds no file beside its metadata" in check.reason


@pytest.mark.slow
def test_a_recorded_baseline_is_no_package(tmp_path: Path) -> None:
    """Setuptools takes any plain folder beside a flat package for a second one, and stops."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "sample"\nversion = "1"\n')
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "__init__.py").write_text(sample.MODULE)
    recorded = tmp_path / settings.ProjectSettings().baselines
    recorded.mkdir()
    (recorded / "lint.json").write_text("{}")
    check = sample.run(tmp_path, "gate7-build")
    assert check.status is Status.PASS, check.reason


@pytest.mark.slow
def test_an_old_artifact_does_not_count(tmp_path: Path) -> None:
    """What an earlier build left is removed before, so it cannot pass for this one."""
    project = sample.make(tmp_path)
    assert sample.run(project, "gate7-build").status is Status.PASS
    (project / "pyproject.toml").write_text("[build-system]\nrequires = []\n[project]\nname='x'\n")
    assert sample.run(project, "gate7-build").status is not Status.PASS


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_the_project(tmp_path: Path) -> None:
    """The gate could not judge: ERROR, with what stood in the way."""
    (tmp_path / "backend.py").write_text(
        "import errno\nimport os\n\n\ndef build_sdist(*_):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'sample'\nversion = '1'\n"
    )
    check = sample.run(tmp_path, "gate7-build")
    assert check.status is Status.ERROR
    assert "the disk is full" in check.reason
