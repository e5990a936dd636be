"""A small real project for the gates, and the way to run one gate on it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlx_preflight import plan, project_table, register, runner
from mlx_preflight.selftest import faults

if TYPE_CHECKING:
    from pathlib import Path

    from mlx_preflight.result import CheckResult

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


def run(project: Path, session_id: str, *, run_id: str = "r1", **settings: object) -> CheckResult:
    """Run one gate on a project and return its only check."""
    session, context = session_and_context(project, session_id, run_id=run_id, **settings)
    (check,) = runner.run_session(session, context).checks
    return check


def session_and_context(
    project: Path, session_id: str, *, run_id: str = "r1", **settings: object
) -> tuple[plan.Session, runner.Context]:
    """Return a gate's session and a context of a project."""
    chosen = dataclasses.replace(project_table.Settings(tests_min=1), **settings)  # type: ignore[arg-type]
    profile = plan.choose(chosen)
    context = runner.Context(
        project=project,
        state=project / ".preflight",
        run_id=run_id,
        profile=profile,
        settings=chosen,
        model=profile.model,
        evidence=profile.evidence,
        budget_bytes=16 * 10**9,
        note=lambda _: None,
    )
    if session_id == "gate3-types":
        share_cache(context.scratch(session_id) / "cache")
    return register.find_session(session_id)[0], context


def share_cache(cache: Path) -> None:
    """Let the projects of one test run share what mypy knows of the standard library."""
    shared = cache.parents[3].parent / "shared-mypy-cache"
    shared.mkdir(exist_ok=True)
    if not cache.is_symlink():
        cache.symlink_to(shared)


def value(check: CheckResult, name: str) -> float | str:
    """Return one measurement of a check."""
    return next(item.value for item in check.measurements if item.name == name)
