"""Run a project's tests once, under coverage, and read the JUnit file they leave.

Gates 4 and 5 judge the outcomes, gate 6 the coverage of the very same runs.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import tool
from mlx_preflight.isolate import child_environment, redact
from mlx_preflight.result import Measurement, Outcome, Status, read_json, write_json
from mlx_preflight.runner import Context

UNIT, ACCEPTANCE = "gate4-unit", "gate5-integration"

DATA = "coverage"
"""Base name of every data file: `coverage combine` only takes files that share it."""

MAX_JUNIT_BYTES = 64_000_000

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
    """Hold one run of a project's tests.

    Attributes:
        failed: Test ids with their messages; errors in fixtures and collection count.
        skipped: Test ids with the reason of the skip.
        deselected: How many the project's `tests-select` left out.
        select: That expression.
        data: Folder with the coverage data of this run.
        minimum: How many tests must have passed.
    """

    ran: tool.Ran
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    deselected: int
    select: str
    data: Path
    minimum: int


def measure(context: Context, name: str) -> Tests:
    """Run the tests of gate 4 (all but the acceptance folder) or gate 5 (only that).

    Args:
        context: The run.
        name: `UNIT` or `ACCEPTANCE`.

    Raises:
        ResultError: pytest left no readable JUnit file.
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
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *chosen]
    select = context.settings.tests_select
    if select:
        pytest += ["-m", select]
    if importlib.util.find_spec("pytest_cov"):
        # A project's own --cov would measure instead of us, and leave us no data.
        pytest.append("--no-cov")
    ran = tool.run(context, "coverage", *arguments, *pytest, env=environment(data))
    passed, failed, skipped = _outcomes(junit, ran)
    files = sorted(path.name for path in folder.glob(f"{DATA}*"))
    write_json(stamp, {"run_id": context.run_id, "exit_code": ran.done.returncode, "data": files})
    minimum = context.settings.tests_min if name == UNIT else 1
    return Tests(
        ran, passed, failed, skipped, _deselected(ran) if select else 0, select, folder, minimum
    )


def measured(context: Context, name: str) -> int | None:
    """Return pytest's exit code, if a gate of this run left it and all of its coverage data."""
    folder = context.state / "artifacts" / name
    try:
        stamp = read_json(folder / "stamp.json")
        code, files = int(stamp["exit_code"]), [folder / file for file in stamp["data"]]
    except (ResultError, KeyError, TypeError, ValueError):
        return None
    there = bool(files) and all(file.is_file() and file.stat().st_size for file in files)
    return code if there and stamp["run_id"] == context.run_id else None


def judge(tests: Tests) -> Outcome:
    """Return the outcome of a test gate: enough passed, none failed."""
    code = tests.ran.done.returncode
    total = tests.passed + len(tests.failed) + len(tests.skipped)
    measured_values = tests.ran.measurements(
        Measurement("tests_passed", tests.passed, "count", f">= {tests.minimum}"),
        Measurement("tests_failed", len(tests.failed), "count", "<= 0"),
        Measurement("tests_skipped", len(tests.skipped), "count"),
        *([Measurement("tests_deselected", tests.deselected, "count")] if tests.select else []),
    )
    named = tool.listed([*tests.failed])
    if code not in (0, _FAILED, *([_STOPPED] if tests.failed else [])):
        meaning = _MEANING.get(code, "it died")
        return tests.ran.error(f"pytest did not get to its end, {meaning} {named}".rstrip())
    if tests.failed:
        cut = "; the rest did not run" if code == _STOPPED else ""
        reason = f"{len(tests.failed)} of {total} tests failed{cut}: {named}"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    if code != 0:
        return tests.ran.error(f"pytest did not pass: {_MEANING[_FAILED]}")
    skipped = f", {len(tests.skipped)} skipped: {tool.listed([*tests.skipped])}"
    reason = f"{tests.passed} passed{skipped if tests.skipped else ', none skipped'}"
    if tests.deselected:
        reason += f"; {tests.deselected} did not run: tests-select = {tests.select!r}"
    if tests.passed == 0:
        return Outcome(Status.ERROR, f"no test passed: {reason}", measurements=measured_values)
    if tests.passed < tests.minimum:
        reason = f"{reason}; {tests.minimum} must pass"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    return Outcome(Status.PASS, reason, measurements=measured_values)


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


def _outcomes(path: Path, ran: tool.Ran) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Return passed, failed and skipped of a JUnit file that the tests could have written."""
    try:
        if path.stat().st_size > MAX_JUNIT_BYTES:
            raise ResultError(f"{path}: over {MAX_JUNIT_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        # Without a DOCTYPE there are no entities to expand, so the plain parser is safe.
        if "<!DOCTYPE" in text:
            raise ResultError(f"{path}: has a DOCTYPE, which pytest never writes")
        cases = list(ET.fromstring(text).iter("testcase"))  # noqa: S314  (see above)
    except (OSError, ValueError, ET.ParseError) as error:
        reason = f"pytest exited {ran.done.returncode} and left no readable JUnit file"
        raise ResultError(f"{reason}: {_last_words(ran)}") from error
    passed, failed, skipped = 0, [], []
    for case in cases:
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        if bad is not None:
            failed.append(f"{name} ({_first(bad.get('message'))})")
        elif skip is not None:
            skipped.append(f"{name} ({_first(skip.get('message'))})")
        else:
            passed += 1
    return passed, tuple(failed), tuple(skipped)


def _deselected(ran: tool.Ran) -> int:
    """Return how many tests pytest's closing line says were left out."""
    found: list[str] = re.findall(r"\b(\d+) deselected\b", ran.done.stdout)
    return int(found[-1]) if found else 0


def _last_words(ran: tool.Ran) -> str:
    """Return why pytest died, or its last lines without coverage's remarks on them."""
    lines = [
        line
        for line in f"{ran.done.stdout}\n{ran.done.stderr}".splitlines()
        if line.strip() and "CoverageWarning" not in line and "self._warn(" not in line
    ]
    return ran.done.death() or redact("\n".join(lines[-5:])) or "it printed nothing"


def _first(message: str | None) -> str:
    lines: Sequence[str] = (message or "no message").strip().splitlines()
    return lines[0][:120] if lines else "no message"
