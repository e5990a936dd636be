"""AC3 in this venv, and judged on what a broken venv answers."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from mlx_preflight.core.child import run_child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import clean_venv, installation
from mlx_preflight.plan import register, settings
from mlx_preflight.run.context import Context

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> installation.InstallationFacts:
    """Return what this venv answers."""
    session, _ = register.find_session("ac3-installation")
    state = Workspace(tmp_path_factory.mktemp("state"))
    context = Context.of(ROOT, settings.ProjectSettings(), run_id="r1", workspace=state)
    return installation.gather(session, context)


def finished(code: int, out: str = "", err: str = "") -> ChildRun:
    """Return a child that ended so."""
    return ChildRun(("python",), code, out, err, 0.1, truncated=False)


@pytest.mark.slow
@pytest.mark.parametrize("check_id", list(installation.CHECKS)[:5])
def test_this_venv_passes(facts: installation.InstallationFacts, check_id: str) -> None:
    """Where the model stack is installed, versions and imports pass with their values."""
    outcome = installation.CHECKS[check_id](facts)
    assert outcome.status is Status.PASS
    assert outcome.measurements


@pytest.mark.slow
@pytest.mark.parametrize(("check_id", "package"), [("AC3.1", "mlx-lm"), ("AC3.2", "mlx")])
def test_a_missing_package_fails(
    facts: installation.InstallationFacts, check_id: str, package: str
) -> None:
    """A package without a version in this venv is a failure that names it."""
    broken = dataclasses.replace(facts, versions={**facts.versions, package: None})
    outcome = installation.CHECKS[check_id](broken)
    assert outcome.status is Status.FAIL
    assert package in outcome.reason


@pytest.mark.slow
def test_one_failing_import_fails_and_shows_its_last_line(
    facts: installation.InstallationFacts,
) -> None:
    """An ImportError in one of the children is the reason of the failure."""
    child = finished(1, err="Traceback\nImportError: libmlx.so: cannot open shared object file")
    broken = dataclasses.replace(facts, imports={**facts.imports, "mlx.core": child})
    outcome = installation.ac3_4(broken)
    assert outcome.status is Status.FAIL
    assert "libmlx.so" in outcome.reason


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(0)", "it ended before the import did"),
        ("import os; os._exit(0)", "it ended before the import did"),
        ("print('imported and ended'); raise SystemExit", "it ended before the import did"),
        ("", "has no attribute 'generate'"),
    ],
)
def test_an_import_that_does_not_end_is_none(tmp_path: Path, code: str, said: str) -> None:
    """A package that leaves with exit code 0, or is empty, is not the framework."""
    package = tmp_path / "mlx_lm"
    package.mkdir()
    (package / "__init__.py").write_text(code, encoding="utf-8")
    child = run_child(
        [sys.executable, "-c", installation.importing("mlx_lm")], cwd=tmp_path, timeout_s=60
    )
    empty = clean_venv.Installation(finished(1), "", "")
    found = installation.InstallationFacts(
        {}, "", {"mlx_lm": child}, finished(1), empty, "no guide"
    )
    outcome = installation.ac3_4(found)
    assert outcome.status is Status.FAIL
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("child", "status"),
    [
        (finished(0, "No broken requirements found.\n"), Status.PASS),
        (finished(1, "a 1 has requirement b<2, but you have b 3.\n"), Status.FAIL),
        (finished(1, err="No module named pip"), Status.ERROR),
        (finished(0, ""), Status.ERROR),
    ],
)
def test_pip_check_passes_only_on_its_own_sentence(child: ChildRun, status: Status) -> None:
    """A missing pip or an empty answer is an error, never a pass."""
    assert clean_venv.judge_pip_check(child).status is status


@pytest.mark.slow
def test_a_conflict_beside_the_wheel_fails(facts: installation.InstallationFacts) -> None:
    """What pip check finds only where the wheel alone was installed still fails AC3.5."""
    conflict = finished(1, "a 1 has requirement b<2, but you have b 3.\n")
    clean = dataclasses.replace(facts.clean, pip_check=conflict)
    outcome = installation.ac3_5(dataclasses.replace(facts, clean=clean))
    assert outcome.status is Status.FAIL
    assert facts.clean.artifact in outcome.reason


@pytest.mark.parametrize("install", [finished(1, err="no such option"), finished(0)])
def test_a_wheel_that_was_not_built_never_passes(install: ChildRun) -> None:
    """A failed build, and one that left no wheel, are failures."""
    clean = clean_venv.Installation(install, "0 wheels were built", "")
    assert clean_venv.judge_install(clean).status is Status.FAIL
    assert clean_venv.judge_pip_check(clean.pip_check).status is Status.ERROR
