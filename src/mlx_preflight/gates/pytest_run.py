"""One run of a project's tests under coverage, and the JUnit file that it leaves.

Gates 4 and 5 judge the outcomes, gate 6 the coverage of the very same runs.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from mlx_preflight.core.child import child_environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings, redact
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.gates import tool
from mlx_preflight.gates.baselines import outcomes
from mlx_preflight.gates.baselines.outcomes import RecordedTests
from mlx_preflight.plan.register import GATE4_UNIT, GATE5_INTEGRATION
from mlx_preflight.run.context import Context

UNIT, ACCEPTANCE = GATE4_UNIT, GATE5_INTEGRATION

DATA = "coverage"
"""Base name of every data file: `coverage combine` only takes files that share it."""

MAX_JUNIT_BYTES = 64_000_000

_NO_REASON = ("(no message)", "(unconditional skip)")
"""Ends of a skipped test's text where its author gave no reason (pytest 8 and 9)."""

_COLLECTION = "collection failure"
"""What pytest writes as the message of every module that it could not import."""

_FAILED, _STOPPED = 1, 2
_MEANING = {
    _FAILED: "no failed test explains it; a plugin or a threshold may",
    _STOPPED: "it was interrupted",
    3: "it had an internal error",
    4: "its usage was wrong",
    5: "no test was found",
}
"""pytest's exit codes besides 0."""


@dataclass(frozen=True, slots=True)
class Tests:
    """One run of a project's tests.

    Attributes:
        failed: Test ids with their messages; errors in fixtures and collection count.
        skipped: Test ids with the reason of the skip.
        deselected: How many the project's `tests-select` left out.
        select: That expression.
        data: Folder with the coverage data of this run.
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
    data: Path
    minimum: int
    skips_max: int
    outcomes: Mapping[str, str]
    recorded: RecordedTests | None


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
    stamp, junit = folder / "stamp.json", folder / "junit.xml"
    stamp.unlink(missing_ok=True)
    junit.unlink(missing_ok=True)
    source = (context.project / context.settings.source).resolve()
    data = folder / DATA
    acceptance = context.settings.acceptance
    chosen = [acceptance] if name == ACCEPTANCE else [f"--ignore={acceptance}"]
    arguments = ["run", "--parallel-mode", f"--data-file={data}", f"--source={source}"]
    pytest = ["-m", "pytest", "-q", f"--junitxml={junit}", *chosen]
    select = context.settings.tests_select
    if select:
        pytest += ["-m", select]
    if context.environment.version("pytest-cov"):
        # A project's own --cov would measure instead of us, and leave us no data.
        pytest.append("--no-cov")
    env, python = environment(data), context.python
    with tempfile.TemporaryDirectory(prefix="preflight-") as cache:
        # Of its own, and empty: with the last run's, `--lf` would leave tests out.
        own = ("-o", f"cache_dir={cache}")
        ran = tool.run(context, "coverage", *arguments, *pytest, *own, env=env, python=python)
    cases = _cases(junit, ran)
    files = sorted(path.name for path in folder.glob(f"{DATA}*"))
    write_json(stamp, {"run_id": context.run_id, "exit_code": ran.done.returncode, "data": files})
    return Tests(
        ran=ran,
        passed=sum(case.outcome == outcomes.PASSED for case in cases),
        failed=_named(cases, outcomes.FAILED),
        skipped=_named(cases, outcomes.SKIPPED),
        deselected=_deselected(ran) if select else 0,
        select=select,
        data=folder,
        minimum=context.settings.tests_min if name == UNIT else 1,
        skips_max=context.settings.tests_skipped_max,
        outcomes={case.name: case.outcome for case in cases},
        recorded=outcomes.read(context.project, context.settings.baselines, name),
    )


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
    """Return the outcome of a test gate: enough passed, none failed."""
    code, recorded = tests.ran.done.returncode, tests.recorded
    total = tests.passed + len(tests.failed) + len(tests.skipped)
    measured_values = tests.ran.measurements(
        Measurement(
            "tests_passed", tests.passed, "count", None if recorded else f">= {tests.minimum}"
        ),
        Measurement("tests_failed", len(tests.failed), "count", "<= 0"),
        Measurement(
            "tests_skipped",
            len(tests.skipped),
            "count",
            None if recorded else f"<= {tests.skips_max}",
        ),
        *([Measurement("tests_recorded", len(recorded.outcomes), "count")] if recorded else []),
        *([Measurement("tests_deselected", tests.deselected, "count")] if tests.select else []),
    )
    named = join_findings([*tests.failed])
    if code not in (0, _FAILED, *([_STOPPED] if tests.failed else [])):
        meaning = _MEANING.get(code, "it crashed")
        reason = f"pytest exited {code}, {meaning}: {named or _pytest_failure(tests.ran)}"
        return Outcome(Status.ERROR, reason, measurements=measured_values)
    if tests.failed:
        cut = "; the rest did not run" if code == _STOPPED else ""
        reason = f"{len(tests.failed)} of {total} tests failed{cut}: {named}"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    if code != 0:
        return tests.ran.error(f"pytest did not pass: {_MEANING[_FAILED]}")
    skipped = f", {len(tests.skipped)} skipped: {join_findings([*tests.skipped])}"
    reason = f"{tests.passed} passed{skipped if tests.skipped else ', none skipped'}"
    if tests.deselected:
        reason += f"; {tests.deselected} did not run: tests-select = {tests.select!r}"
    if tests.passed == 0:
        return Outcome(Status.ERROR, f"no test passed: {reason}", measurements=measured_values)
    if lacks := _lacks(tests):
        reason = f"{reason}; {join_findings(lacks)}"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    return Outcome(Status.PASS, reason, measurements=measured_values)


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


@dataclass(frozen=True, slots=True)
class _Case:
    """One test of a JUnit file; the message is a failure's or a skip's first line."""

    name: str
    outcome: str
    message: str


def _cases(path: Path, ran: tool.ToolRun) -> list[_Case]:
    """Return the tests of a JUnit file that pytest could have written.

    Raises:
        ResultError: It is missing, too large, or no JUnit file.
    """
    try:
        if path.stat().st_size > MAX_JUNIT_BYTES:
            raise ResultError(f"{path}: over {MAX_JUNIT_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text:
            raise ResultError(f"{path}: has a DOCTYPE, which pytest never writes")
        # Without a DOCTYPE there are no entities to expand, so the plain parser is safe.
        return [_case(case) for case in ET.fromstring(text).iter("testcase")]  # noqa: S314  (above)
    except (OSError, ValueError, ET.ParseError) as error:
        reason = f"pytest exited {ran.done.returncode} and left no readable JUnit file"
        raise ResultError(f"{reason}: {_pytest_failure(ran)}") from error


def _case(case: ET.Element) -> _Case:
    name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
    for tag, outcome in (
        ("failure", outcomes.FAILED),
        ("error", outcomes.FAILED),
        ("skipped", outcomes.SKIPPED),
    ):
        if (found := case.find(tag)) is not None:
            message = found.get("message")
            if message == _COLLECTION:
                # pytest keeps the cause in the text only, behind "E".
                cause = re.search(r"^E\s+(.+)$", found.text or "", re.MULTILINE)
                message = cause[1] if cause else message
            return _Case(name, outcome, _first(message))
    return _Case(name, outcomes.PASSED, "")


def _named(cases: Sequence[_Case], outcome: str) -> tuple[str, ...]:
    return tuple(f"{case.name} ({case.message})" for case in cases if case.outcome == outcome)


def _deselected(ran: tool.ToolRun) -> int:
    """Return how many tests pytest's closing line says were left out."""
    found: list[str] = re.findall(r"\b(\d+) deselected\b", ran.done.stdout)
    return int(found[-1]) if found else 0


def _pytest_failure(ran: tool.ToolRun) -> str:
    """Return why pytest died, or its last lines without coverage's remarks on them."""
    lines = [
        line
        for line in f"{ran.done.stdout}\n{ran.done.stderr}".splitlines()
        if line.strip() and "CoverageWarning" not in line and "self._warn(" not in line
    ]
    return ran.done.signal_reason() or redact("\n".join(lines[-5:])) or "it printed nothing"


def _first(message: str | None) -> str:
    lines: Sequence[str] = (message or "no message").strip().splitlines()
    return lines[0][:120] if lines else "no message"
