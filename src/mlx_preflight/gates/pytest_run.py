"""One run of a project's tests under coverage, and what it leaves.

Gates 4 and 5 judge the outcomes, gate 6 the coverage of the very same runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import child_environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.heartbeat import heartbeat
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.gates import recorded_run, stale_caches, tool
from mlx_preflight.gates.baselines import outcomes
from mlx_preflight.gates.baselines.outcomes import RecordedTests
from mlx_preflight.plan.register import GATE4_UNIT, GATE5_INTEGRATION
from mlx_preflight.run.context import Context

UNIT, ACCEPTANCE = GATE4_UNIT, GATE5_INTEGRATION

DATA = "coverage"
"""Base name of every data file: `coverage combine` only takes files that share it."""

_NO_REASON = ("(no message)", "(unconditional skip)")
"""Ends of a skipped test's text where its author gave no reason (pytest 8 and 9)."""

_FAILED, _STOPPED = 1, 2
_MEANING = {
    _FAILED: "no failed test explains it; a plugin or a threshold may",
    _STOPPED: "it was interrupted",
    3: "it had an internal error",
    4: "its usage was wrong",
    5: "no test was found",
}
"""pytest's exit codes besides 0."""

_BEAT_S = 30.0
"""Seconds between two notes on how far the tests are."""

_UNPROVED = "take out what ends or replaces the run: pytest.exit, os._exit, a hook of a conftest"


@dataclass(frozen=True, slots=True)
class Tests:
    """One run of a project's tests.

    Attributes:
        failed: Test ids with their messages; errors in fixtures and collection count.
        skipped: Test ids with the reason of the skip.
        deselected: How many `tests-select`, or an option of the project's own, left out.
        select: The setting `tests-select`.
        doubt: Why the run proves nothing; empty where all tests ran.
        minimum: How many tests must have passed.
        skips_max: How many may be skipped where no baseline is recorded.
        outcomes: Test name → passed, failed or skipped.
        recorded: What the project accepted, if it recorded that.
    """

    ran: tool.ToolRun
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    deselected: int
    select: str
    doubt: str
    minimum: int
    skips_max: int
    outcomes: Mapping[str, str]
    recorded: RecordedTests | None = None


def measure(context: Context, name: str) -> Tests:
    """Run the tests of gate 4 (all but the acceptance folder) or gate 5 (only that).

    Args:
        context: The run.
        name: `UNIT` or `ACCEPTANCE`.

    Raises:
        ResultError: pytest left no readable JUnit file, or a baseline cannot be used.
    """
    folder = context.scratch(name)
    for old in folder.glob(f"{DATA}*"):
        old.unlink()
    stamp, data = folder / "stamp.json", folder / DATA
    stamp.unlink(missing_ok=True)
    source = str((context.project / context.settings.source).resolve())
    acceptance = context.settings.acceptance
    chosen = [acceptance] if name == ACCEPTANCE else [f"--ignore={acceptance}"]
    if context.environment.version("pytest-cov"):
        # A project's own --cov would measure instead of us, and leave us no data.
        chosen.append("--no-cov")
    coverage = ["coverage", "run", "--parallel-mode", f"--data-file={data}", f"--source={source}"]
    tests = run(context, name, chosen, before=coverage, source=source)
    done = sorted(path.name for path in folder.glob(f"{DATA}*"))
    code = tests.ran.done.returncode
    write_json(stamp, {"run_id": context.run_id, "exit_code": code, "data": done})
    minimum = context.settings.tests_min if name == UNIT else 1
    return dataclasses.replace(
        tests,
        minimum=minimum,
        skips_max=context.settings.tests_skipped_max,
        recorded=outcomes.read(context.project, context.settings.baselines, name),
    )


def run(
    context: Context,
    name: str,
    chosen: Sequence[str],
    *,
    before: Sequence[str] = (),
    source: str = "",
) -> Tests:
    """Run tests of a project as everywhere in the plan, and read what they left.

    Args:
        context: The run.
        name: Folder of the artifacts.
        chosen: Which tests, and further options of pytest.
        before: Module and arguments of what runs pytest; nothing runs it alone.
        source: Folder whose lines are covered.

    Raises:
        ResultError: pytest left no readable JUnit file.
    """
    folder, select = context.scratch(name), context.settings.tests_select
    env = environment(folder / DATA)
    stale_caches.forget_bytecode(context.project, env.get("PYTHONPYCACHEPREFIX", ""))
    module, *arguments = [*before, "-m", "pytest"] if before else ["pytest"]
    with recorded_run.files(folder, context.project, source) as files:
        own = ["-q", *files.arguments, *chosen, *(["-m", select] if select else [])]
        env |= files.variables
        with heartbeat(_BEAT_S, lambda: _note(context, name, files.record)):
            ran = tool.run(context, module, *arguments, *own, env=env, python=context.python)
        cases, record = files.cases(ran.done), files.read_record()
    failed = _named(cases, outcomes.FAILED)
    return Tests(
        ran=ran,
        passed=sum(case.outcome == outcomes.PASSED for case in cases),
        failed=failed,
        skipped=_named(cases, outcomes.SKIPPED),
        deselected=record.deselected,
        select=select,
        doubt=record.doubt(failed),
        minimum=1,
        skips_max=len(cases),
        outcomes={case.name: case.outcome for case in cases},
    )


def _note(context: Context, name: str, record: Path) -> None:
    if said := recorded_run.progress(record):
        context.note(f"{name}: {said}")


def recorded_exit_code(context: Context, name: str) -> int | None:
    """Return pytest's exit code, if a gate of this run left it and all of its coverage data."""
    folder = Workspace(context.state).artifacts(name)
    try:
        stamp = read_json(folder / "stamp.json")
        code, files = int(stamp["exit_code"]), [folder / file for file in stamp["data"]]
    except (ResultError, KeyError, TypeError, ValueError):
        return None
    there = bool(files) and all(file.is_file() and file.stat().st_size for file in files)
    return code if there and stamp["run_id"] == context.run_id else None


def judge(tests: Tests) -> Outcome:
    """Return the outcome of a test gate: every test ran, enough passed, none failed."""
    outcome = judge_run(tests)
    if outcome.status is Status.PASS and (lacks := _lacks(tests)):
        reason = f"{outcome.reason}; {join_findings(lacks)}"
        return dataclasses.replace(outcome, status=Status.FAIL, reason=reason)
    return outcome


def judge_run(tests: Tests) -> Outcome:
    """Return the outcome of a run alone: every collected test reported, and none failed."""
    code = tests.ran.done.returncode
    total = tests.passed + len(tests.failed) + len(tests.skipped)
    measured = _measured(tests)
    named = join_findings([*tests.failed])
    if code not in (0, _FAILED, *([_STOPPED] if tests.failed else [])):
        meaning = _MEANING.get(code, "it crashed")
        reason = f"pytest exited {code}, {meaning}: "
        reason += named or recorded_run.last_lines(tests.ran.done)
        return Outcome(Status.ERROR, reason, measurements=measured)
    if tests.failed:
        cut = "; the rest did not run" if code == _STOPPED or tests.doubt else ""
        reason = f"{len(tests.failed)} of {total} tests failed{cut}: {named}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    if tests.doubt:
        return Outcome(Status.ERROR, tests.doubt, measurements=measured, remedy=_UNPROVED)
    if code != 0:
        return tests.ran.error(f"pytest did not pass: {_MEANING[_FAILED]}")
    reason = _passed(tests)
    status = Status.PASS if tests.passed else Status.ERROR
    return Outcome(status, reason, measurements=measured)


def _passed(tests: Tests) -> str:
    skipped = f", {len(tests.skipped)} skipped: {join_findings([*tests.skipped])}"
    reason = f"{tests.passed} passed{skipped if tests.skipped else ', none skipped'}"
    if tests.deselected:
        by = f"tests-select = {tests.select!r}" if tests.select else "the project's own options"
        reason += f"; {tests.deselected} did not run: {by}"
    return reason if tests.passed else f"no test passed: {reason}"


def _measured(tests: Tests) -> tuple[Measurement, ...]:
    recorded, counts = tests.recorded, tests.select or tests.deselected
    fewest = None if recorded else f">= {tests.minimum}"
    most = None if recorded else f"<= {tests.skips_max}"
    return tests.ran.measurements(
        Measurement("tests_passed", tests.passed, "count", fewest),
        Measurement("tests_failed", len(tests.failed), "count", "<= 0"),
        Measurement("tests_skipped", len(tests.skipped), "count", most),
        *([Measurement("tests_recorded", len(recorded.outcomes), "count")] if recorded else []),
        *([Measurement("tests_deselected", tests.deselected, "count")] if counts else []),
    )


def _lacks(tests: Tests) -> list[str]:
    """Return what a run without a failure still lacks: tests, or reasons for skips."""
    lacks = [f"{name} gives no reason" for name in tests.skipped if name.endswith(_NO_REASON)]
    if tests.recorded is not None:
        # By name, so that a new test cannot stand in for one that vanished.
        return lacks + tests.recorded.findings(tests.select, tests.outcomes)
    if tests.passed < tests.minimum:
        lacks.append(f"{tests.minimum} must pass")
    if len(tests.skipped) > tests.skips_max:
        lacks.append(f"at most {tests.skips_max} may be skipped")
    return lacks


def environment(data: Path) -> dict[str, str]:
    """Return an environment without the run that judges, and without a shell's own options.

    PYTEST_ADDOPTS or COVERAGE_RCFILE of a shell would change what is proved; a project's
    own configuration stays in force.
    """
    foreign = ("PREFLIGHT_", "NOX_", "PYTEST_", "COVERAGE_", "COV_CORE_")
    clean = {
        key: value for key, value in child_environment().items() if not key.startswith(foreign)
    }
    return {**clean, "COVERAGE_FILE": str(data)}


def _named(cases: Sequence[recorded_run.Case], outcome: str) -> tuple[str, ...]:
    return tuple(f"{case.name} ({case.message})" for case in cases if case.outcome == outcome)
