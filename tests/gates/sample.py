"""A small real project for the gates, and the way to run one gate on it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from mlx_preflight.core import judged_environment
from mlx_preflight.plan import register, spec
from mlx_preflight.plan import settings as project_table
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import Context
from mlx_preflight.selftest import faults

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mlx_preflight.core.judged_environment import Environment
    from mlx_preflight.core.result import CheckResult

INSPECT = judged_environment.inspect

PYPROJECT = """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "sample"
version = "1.0"

[tool.hatch.build.targets.wheel]
packages = ["src/sample"]

[tool.ruff.lint]
select = ["E", "F"]

[tool.pytest.ini_options]
pythonpath = ["src"]
# Plugins of this venv that the sample has no use for cost 1.4 s a run.
addopts = "-p no:hypothesispytest -p no:anyio"
"""

# One sample for the tests and for the self-test.
MODULE = faults.CLEAN["src/sample/__init__.py"]
TEST = faults.CLEAN["tests/test_add.py"]


def make(folder: Path, **files: str) -> Path:
    """Write the project, with further files by path (`__` stands for `/`)."""
    texts = {
        "pyproject.toml": PYPROJECT,
        "src/sample/__init__.py": MODULE,
        "tests/test_add.py": TEST,
        "tests/acceptance/test_whole.py": TEST,
        **{name.replace("__", "/") + ".py": text for name, text in files.items()},
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def run(project: Path, session_id: str, *, run_id: str = "r1", **settings: Any) -> CheckResult:
    """Run one gate on a project and return its only check."""
    session, context = session_and_context(project, session_id, run_id=run_id, **settings)
    (check,) = runner.run_session(session, context).checks
    return check


def session_and_context(
    project: Path, session_id: str, *, run_id: str = "r1", **settings: Any
) -> tuple[spec.Session, Context]:
    """Return a gate's session and a context of a project."""
    chosen = dataclasses.replace(project_table.ProjectSettings(tests_min=1), **settings)
    context = Context.of(project, chosen, run_id=run_id, note=lambda _: None)
    if session_id == "gate3-types":
        share_cache(context.scratch(session_id) / "cache")
    return register.find_session(session_id)[0], context


def installed_here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Environment:
    """Return this environment with the distributions of a folder, first on its path."""
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    # Nothing is kept: the same interpreter has other packages in the next test.
    monkeypatch.setattr(judged_environment, "inspect", INSPECT.__wrapped__)
    return judged_environment.inspect()


def share_cache(cache: Path) -> None:
    """Let the projects of one test run share what mypy knows of the standard library."""
    shared = cache.parents[3].parent / "shared-mypy-cache"
    shared.mkdir(exist_ok=True)
    if not cache.is_symlink():
        cache.symlink_to(shared)


def value(check: CheckResult, name: str) -> float | str:
    """Return one measurement of a check."""
    return next(item.value for item in check.measurements if item.name == name)
