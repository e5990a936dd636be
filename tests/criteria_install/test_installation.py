"""AC3 in this venv, and judged on what a broken venv answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mlx_preflight import plan, project_table, register, runner
from mlx_preflight.criteria import clean_venv, installation
from mlx_preflight.isolate import Finished
from mlx_preflight.result import Status

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> installation.Facts:
    """Return what this venv answers."""
    profile = plan.choose(project_table.Settings())
    session, _ = register.find_session("ac3-installation")
    context = runner.Context(
        project=ROOT,
        state=tmp_path_factory.mktemp("state"),
        run_id="r1",
        profile=profile,
        settings=project_table.Settings(),
        model=profile.model,
        evidence=profile.evidence,
        budget_bytes=16 * 10**9,
    )
    return installation.gather(session, context)


def finished(code: int, out: str = "", err: str = "") -> Finished:
    """Return a child that ended so."""
    return Finished(("python",), code, out, err, 0.1, truncated=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ac3_1", "ac3_2", "ac3_3", "ac3_4", "ac3_5"])
def test_this_venv_passes(facts: installation.Facts, name: str) -> None:
    """Where the model stack is installed, versions and imports pass with their values."""
    outcome = getattr(installation, name)(facts)
    assert outcome.status is Status.PASS
    assert outcome.measurements


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("ac3_1", "mlx-lm"), ("ac3_2", "mlx")])
def test_a_missing_package_fails(facts: installation.Facts, name: str, package: str) -> None:
    """A package without a version in this venv is a failure that names it."""
    broken = dataclasses.replace(facts, versions={**facts.versions, package: None})
    outcome = getattr(installation, name)(broken)
    assert outcome.status is Status.FAIL
    assert package in outcome.reason


@pytest.mark.slow
def test_one_failing_import_fails_and_shows_its_last_line(facts: installation.Facts) -> None:
    """An ImportError in one of the children is the reason of the failure."""
    child = finished(1, err="Traceback\nImportError: libmlx.so: cannot open shared object file")
    broken = dataclasses.replace(facts, imports={**facts.imports, "mlx.core": child})
    outcome = installation.ac3_4(broken)
    assert outcome.status is Status.FAIL
    assert "libmlx.so" in outcome.reason


@pytest.mark.parametrize(
    ("child", "status"),
    [
        (finished(0, "No broken requirements found.\n"), Status.PASS),
        (finished(1, "a 1 has requirement b<2, but you have b 3.\n"), Status.FAIL),
        (finished(1, err="No module named pip"), Status.ERROR),
        (finished(0, ""), Status.ERROR),
    ],
)
def test_pip_check_passes_only_on_its_own_sentence(child: Finished, status: Status) -> None:
    """A missing pip or an empty answer is an error, never a pass."""
    assert clean_venv.judge_pip_check(child).status is status


@pytest.mark.slow
def test_a_conflict_beside_the_wheel_fails(facts: installation.Facts) -> None:
    """What pip check finds only where the wheel alone was installed still fails AC3.5."""
    conflict = finished(1, "a 1 has requirement b<2, but you have b 3.\n")
    clean = dataclasses.replace(facts.clean, pip_check=conflict)
    outcome = installation.ac3_5(dataclasses.replace(facts, clean=clean))
    assert outcome.status is Status.FAIL
    assert facts.clean.artifact in outcome.reason


@pytest.mark.parametrize("install", [finished(1, err="no such option"), finished(0)])
def test_a_wheel_that_was_not_built_never_passes(install: Finished) -> None:
    """A failed build, and one that left no wheel, are failures."""
    clean = clean_venv.Installation(install, "0 wheels were built", "")
    assert clean_venv.judge_install(clean).status is Status.FAIL
    assert clean_venv.judge_pip_check(clean.pip_check).status is Status.ERROR
