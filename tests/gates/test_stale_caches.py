"""Caches that compare whole seconds never hide a file that changed within one."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.gates import stale_caches
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

RIGHT, WRONG = "    return left + right\n", "    return left - right\n"


def write(path: Path, text: str, second: int) -> None:
    """Write a file whose last change falls into a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (second, second))


@pytest.mark.slow
def test_mypy_checks_again_what_changed_within_a_second(tmp_path: Path) -> None:
    """Same second, same size, another content: the first run's answer does not stand."""
    project = sample.make(tmp_path)
    path, second = project / "src" / "sample" / "typed.py", int(time.time()) + 60
    write(path, 'NUMBER: int = 1\nTEXT: str = "1"\n', second)
    assert sample.run(project, "gate3-types").status is Status.PASS
    write(path, 'NUMBER: str = 1\nTEXT: str = "1"\n', second)
    check = sample.run(project, "gate3-types", run_id="r2")
    assert check.status is Status.FAIL
    assert "src/sample/typed.py:1" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize("beside", [True, False])
def test_tests_run_what_changed_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    """Also where Python was told to keep compiled files in a folder of their own."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    if not beside:
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "compiled"))
    project = sample.make(tmp_path / "project")
    path, second = project / "src" / "sample" / "__init__.py", int(time.time()) + 60
    write(path, sample.MODULE, second)
    assert sample.run(project, "gate4-unit").status is Status.PASS
    write(path, sample.MODULE.replace(RIGHT, WRONG), second)
    assert sample.run(project, "gate4-unit", run_id="r2").status is Status.FAIL


def test_only_young_files_are_forgotten(tmp_path: Path) -> None:
    """What changed in an earlier second stays compiled, and stays known to mypy."""
    now = int(time.time())
    for name, second in (("old", now - 9), ("young", now)):
        write(tmp_path / "src" / f"{name}.py", "", second)
        for tag in (sys.implementation.cache_tag, f"{sys.implementation.cache_tag}-pytest-9.2.0"):
            write(tmp_path / "src" / "__pycache__" / f"{name}.{tag}.pyc", "", now)
        for folder in ("3.11", "3.11/src", "3.11/other"):
            write(tmp_path / ".cache" / folder / f"{name}.meta.ff", "", now)
    stale_caches.forget_bytecode(tmp_path)
    stale_caches.forget_types(tmp_path / ".cache", tmp_path, now + 0.5)
    left = {path.name.partition(".")[0] for path in (tmp_path / "src" / "__pycache__").iterdir()}
    assert left == {"old"}
    known = {str(path.relative_to(tmp_path / ".cache")) for path in tmp_path.rglob("young.meta.ff")}
    assert known == {"3.11/other/young.meta.ff"}
    assert len(list(tmp_path.rglob("old.meta.ff"))) == 3
