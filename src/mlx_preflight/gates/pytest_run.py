"""Run a project's tests once, under coverage, and read the JUnit file they leave.

Gates 4 and 5 judge the outcomes, gate 6 the coverage of the very same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import tool
from mlx_preflight.isolate import child_environment
from mlx_preflight.result import Measurement, Outcome, Status, read_json, write_json
from mlx_preflight.runner import Context

UNIT, ACCEPTANCE = "gate4-unit", "gate5-integration"

DATA = "coverage"
"""Base name of every data file: `coverage combine` only takes files that share it."""

MAX_JUNIT_BYTES = 64_000_000

_MEANING = {2: "it was interrupted", 3: "it had an internal error", 4: "its usage was wrong"}
"""pytest's exit codes besides 0 (passed), 1 (failed) and 5 (no tests)."""


@dataclass(frozen=True, slots=True)
class Tests:
    """Hold one run of a project's tests.

    Attributes:
        failed: Test ids with their messages; errors in fixtures and collection count.
        skipped: Test ids with the reason of the skip.
        data: Folder with the coverage data of this run.
    """

    ran: tool.Ran
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
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
    ran = tool.run(context, "coverage", *arguments, *pytest, env=_environment(data))
    passed, failed, skipped = _outcomes(junit, ran)
    write_json(stamp, {"run_id": context.run_id, "exit_code": ran.done.returncode})
    return Tests(ran, passed, failed, skipped, folder, context.settings.tests_min)


def measured(context: Context, name: str) -> Path | None:
    """Return the coverage folder that a gate of this run left; None when there is none."""
    folder = context.state / "artifacts" / name
    try:
        stamp = read_json(folder / "stamp.json")
    except ResultError:
        return None
    fits = isinstance(stamp, dict) and stamp.get("run_id") == context.run_id
    return folder if fits and any(folder.glob(f"{DATA}*")) else None


def judge(tests: Tests) -> Outcome:
    """Return the outcome of a test gate: enough passed, none failed."""
    code = tests.ran.done.returncode
    total = tests.passed + len(tests.failed) + len(tests.skipped)
    measured_values = tests.ran.measurements(
        Measurement("tests_passed", tests.passed, "count", f">= {tests.minimum}"),
        Measurement("tests_failed", len(tests.failed), "count", "<= 0"),
        Measurement("tests_skipped", len(tests.skipped), "count"),
    )
    if tests.failed:
        reason = f"{len(tests.failed)} of {total} tests failed: {tool.listed([*tests.failed])}"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    if code != 0:
        return tests.ran.error(f"pytest did not pass: {_MEANING.get(code, 'no test was found')}")
    skipped = f", {len(tests.skipped)} skipped: {tool.listed([*tests.skipped])}"
    reason = f"{tests.passed} passed{skipped if tests.skipped else ', none skipped'}"
    if tests.passed == 0:
        return Outcome(Status.ERROR, f"no test passed: {reason}", measurements=measured_values)
    if tests.passed < tests.minimum:
        reason = f"{reason}; {tests.minimum} must pass"
        return Outcome(Status.FAIL, reason, measurements=measured_values)
    return Outcome(Status.PASS, reason, measurements=measured_values)


def _environment(data: Path) -> dict[str, str]:
    """Return an environment in which the tests do not see the run that judges them."""
    clean = child_environment({"COVERAGE_FILE": str(data)})
    own = ("PREFLIGHT_", "NOX_", "COVERAGE_PROCESS", "COV_CORE")
    return {key: value for key, value in clean.items() if not key.startswith(own)}


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
        reason = ran.done.death() or ran.done.tail(4)
        raise ResultError(f"pytest left no readable JUnit file: {reason}") from error
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


def _first(message: str | None) -> str:
    lines: Sequence[str] = (message or "no message").strip().splitlines()
    return lines[0][:120] if lines else "no message"
