"""Gate 7: builds that exit 0 and are worth nothing, by a backend inside the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_preflight.core.result import CheckResult

pytestmark = pytest.mark.slow

TABLE = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "sample"
version = "1.0.0-rc1"
"""

BACKEND = '''"""Build by hand, with one fault."""

import tarfile
import zipfile
from pathlib import Path

FAULT = "{fault}"


def build_sdist(folder, config_settings=None):
    if FAULT == "raise":
        raise RuntimeError("the backend gave up")
    with tarfile.open(Path(folder) / "sample-1.0.0rc1.tar.gz", "w:gz") as archive:
        for name in ("pyproject.toml", "backend.py", "PKG-INFO"):
            if FAULT != "empty sdist":
                archive.add(name, f"sample-1.0.0rc1/{{name}}")
    return "sample-1.0.0rc1.tar.gz"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "other" if FAULT == "name" else "Sample"
    version = "2.0" if FAULT == "version" else "1.0.0rc1"
    path = Path(folder) / "sample-1.0.0rc1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        if FAULT != "no metadata":
            text = f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n"
            archive.writestr("sample-1.0.0rc1.dist-info/METADATA", text)
        if FAULT != "empty wheel":
            archive.writestr("sample/__init__.py", "ANSWER = 42")
    if FAULT == "damaged":
        path.write_bytes(path.read_bytes().replace(b"ANSWER = 42", b"ANSWER = 43"))
    if FAULT == "no zip":
        path.write_bytes(b"PK")
    return path.name
'''


def build(project: Path, fault: str) -> CheckResult:
    """Run the gate on a project whose backend has one fault."""
    (project / "pyproject.toml").write_text(TABLE)
    (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0.0rc1\n")
    (project / "backend.py").write_text(BACKEND.format(fault=fault))
    return sample.run(project, "gate7-build")


def test_a_version_is_compared_as_a_version(tmp_path: Path) -> None:
    """1.0.0-rc1 in pyproject.toml is 1.0.0rc1 in a wheel; files and installer are recorded."""
    check = build(tmp_path, "none")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "wheel_files") == 1
    assert sample.value(check, "installer") == "uv"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("raise", "the backend gave up"),
        ("name", "names 'other'"),
        ("version", "has version '2.0'"),
        ("no metadata", "not a readable wheel"),
        ("empty wheel", "holds no file beside its metadata"),
        ("damaged", "sample/__init__.py is damaged"),
        ("no zip", "not a readable wheel"),
    ],
)
def test_a_faulty_build_fails_with_its_fault(tmp_path: Path, fault: str, named: str) -> None:
    """Whatever `python -m build` exits with, the artifacts are looked at."""
    check = build(tmp_path, fault)
    assert check.status is Status.FAIL, check.reason
    assert named in check.reason


def test_an_sdist_without_files_never_passes(tmp_path: Path) -> None:
    """An archive can be valid and hold nothing."""
    assert build(tmp_path, "empty sdist").status is not Status.PASS
