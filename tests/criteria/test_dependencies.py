"""AC8 against real pyproject files and real installations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status, write_result
from mlx_preflight.plan import register, settings
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import Context

if TYPE_CHECKING:
    from pathlib import Path

GOOD = [
    "mlx-lm>=0.32,<0.33",
    "mlx>=0.32,<0.33",
    "transformers>=5.7,<6",
    "huggingface-hub>=1.5,<3",
]


def judge(project: Path, dependencies: list[str], extra: str = "") -> dict[str, CheckResult]:
    """Run AC8 on a project whose package is one module, and return its checks by id."""
    (project / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['hatchling>=1.27,<2']\nbuild-backend = 'hatchling.build'\n"
        f"[project]\nname = 'sample'\nversion = '1'\ndependencies = {dependencies!r}\n{extra}"
    )
    (project / "sample.py").write_text("VALUE = 1\n")
    context = Context.of(project, settings.ProjectSettings(), run_id="r1")
    session, _ = register.find_session("ac8-dependencies")
    return {item.id: item for item in runner.run_session(session, context).checks}


@pytest.mark.parametrize(
    ("index", "line", "check"),
    [
        (0, "mlx-lm>=0.32", "AC8.1"),
        (0, "mlx-lm>=0.32,<0.33; python_version < '3'", "AC8.1"),
        pytest.param(1, "mlx<0.33", "AC8.2", marks=pytest.mark.slow),
        pytest.param(2, "transformers", "AC8.3", marks=pytest.mark.slow),
        pytest.param(3, None, "AC8.4", marks=pytest.mark.slow),
    ],
)
def test_a_missing_or_loose_framework_dependency_fails_its_own_row(
    tmp_path: Path, index: int, line: str | None, check: str
) -> None:
    """Each of the four packages has a row that fails when it is absent, loose or for others."""
    lines = [item if n != index else line for n, item in enumerate(GOOD)]
    # The requirement never resolves, so that nothing is installed in this test.
    checks = judge(tmp_path, [item for item in [*lines, "no-such-thing-x>=1,<2"] if item])
    four = {f"AC8.{n}": checks[f"AC8.{n}"].status for n in range(1, 5)}
    assert four.pop(check) is Status.FAIL
    assert set(four.values()) == {Status.PASS}
    assert checks["AC8.6"].status is Status.FAIL
    assert checks["AC8.7"].status is Status.ERROR
    assert (checks["AC8.5"].status is Status.PASS) == (line is None or ";" in line)


def test_the_bounds_of_a_package_may_stand_on_two_lines(tmp_path: Path) -> None:
    """A resolver reads both; a bound that holds elsewhere only is none here."""
    lines = ["mlx-lm>=0.32", "mlx-LM<0.33", *GOOD[1:], "no-such-thing-x>=1,<2"]
    checks = judge(tmp_path, lines)
    assert {checks["AC8.1"].status, checks["AC8.5"].status} == {Status.PASS}
    lines[1] += "; python_version < '3'"
    checks = judge(tmp_path, lines)
    assert {checks["AC8.1"].status, checks["AC8.5"].status} == {Status.FAIL}


@pytest.mark.slow
def test_a_project_that_installs_cleanly_passes_the_installation_rows(tmp_path: Path) -> None:
    """An editable installation into a clean venv, and pip check in it, pass."""
    checks = judge(tmp_path, [])
    assert checks["AC8.6"].status is Status.PASS
    assert checks["AC8.7"].status is Status.PASS


@pytest.mark.slow
def test_nothing_examined_is_an_error(tmp_path: Path) -> None:
    """A project without any dependency proves nothing about bounds."""
    assert judge(tmp_path, ["no-such-thing-x>=1,<2"])["AC8.5"].status is Status.PASS
    assert judge(tmp_path, [])["AC8.5"].status is Status.ERROR


@pytest.mark.slow
def test_an_extra_without_bounds_fails(tmp_path: Path) -> None:
    """A loose requirement hides in no extra."""
    extra = "[project.optional-dependencies]\ndev = ['no-such-thing-y']\n"
    check = judge(tmp_path, ["no-such-thing-x>=1,<2"], extra)["AC8.5"]
    assert check.status is Status.FAIL
    assert "no-such-thing-y" in check.reason


def test_the_audit_row_takes_this_runs_gate(tmp_path: Path) -> None:
    """AC8.8 repeats what gate 8 found in this run instead of asking again."""
    write_audit(tmp_path, "r1")
    check = judge(tmp_path, ["no-such-thing-x>=1,<2"])["AC8.8"]
    assert (check.status, check.reason) == (Status.PASS, "gate 8: 40 audited")


@pytest.mark.slow
@pytest.mark.parametrize("run_id", ["r0", None])
def test_the_audit_row_never_believes_another_run(tmp_path: Path, run_id: str | None) -> None:
    """A stale or absent gate 8 is asked again here; a project that is not installed is ERROR."""
    if run_id is not None:
        write_audit(tmp_path, run_id)
    check = judge(tmp_path, ["no-such-thing-x>=1,<2"])["AC8.8"]
    assert check.status is Status.ERROR
    assert "no-such-thing-x is not installed" in check.reason


def write_audit(project: Path, run_id: str) -> None:
    """Write a passing result of gate 8 for a run."""
    audit, _ = register.find_session("gate8-audit")
    checks = tuple(
        CheckResult(c.id, c.title, Status.PASS, Evidence.STATIC, "40 audited") for c in audit.checks
    )
    result = SessionResult(audit.id, audit.title, checks, run_id, "2026-01-01", 1.0, "embedded")
    write_result(project / ".preflight" / "results", result)


def test_unreadable_dependencies_are_an_error(tmp_path: Path) -> None:
    """A requirement that is not one makes every row ERROR, not absent."""
    checks = judge(tmp_path, ["not a requirement ==="])
    assert {item.status for item in checks.values()} == {Status.ERROR}
