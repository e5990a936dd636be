"""The probes of integration test 2 answer what its checks want, and the checks can fail."""

from __future__ import annotations

import json

import pytest

from mcp_local import probe
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import mcp
from mlx_preflight.gates import pytest_run, tool
from mlx_preflight.plan import register


def ended(stdout: str = "", code: int = 0, stderr: str = "") -> ChildRun:
    """Return how a child ended."""
    return ChildRun(("x",), code, stdout, stderr, 0.5, truncated=False)


def a_run(code: int = 0, *failed: str, passed: int = 0) -> pytest_run.Tests:
    """Return a run of pytest as it was recorded."""
    ran = tool.ToolRun("pytest", "9", ended("", code))
    outcomes = {str(number): "passed" for number in range(passed)}
    return pytest_run.Tests(ran, passed, failed, (), 0, "", "", 1, 0, outcomes)


def facts(**changes: ChildRun | pytest_run.Tests | str) -> mcp.ServerFacts:
    """Return facts in which everything works, but for what is named."""
    probes = {
        "server": ended(json.dumps({"tools": 14})),
        "memory": ended(json.dumps({"records": 1, "verdict": "needs_adapt"})),
        "index": ended(json.dumps({"points": 2, "found": "a"})),
    }
    found = {name: item for name, item in changes.items() if isinstance(item, ChildRun)}
    tests = changes.get("tests", a_run(passed=4))
    assert not isinstance(tests, ChildRun)
    check = found.get("check", ended("No broken requirements found."))
    return mcp.ServerFacts({name: found.get(name, probes[name]) for name in probes}, tests, check)


@pytest.mark.parametrize("name", ["server", "memory", "index"])
def test_each_part_works(name: str) -> None:
    """What the probe answers in this process is what its check passes."""
    answer = ended(json.dumps(probe.PROBES[name]()))
    ids = {"server": register.INT2_1, "memory": register.INT2_2, "index": register.INT2_3}
    outcome = mcp.CHECKS[ids[name]](facts(**{name: answer}))
    assert outcome.status is Status.PASS, outcome.reason


@pytest.mark.parametrize(
    ("check_id", "changes", "status", "words"),
    [
        (register.INT2_1, {"server": ended("", 1, "ImportError: mcp")}, "FAIL", "ImportError: mcp"),
        (register.INT2_1, {"server": ended('{"tools": 0}')}, "FAIL", "answered"),
        (register.INT2_2, {"memory": ended("", -9)}, "FAIL", "SIGKILL"),
        (register.INT2_3, {"index": ended('{"points": 2, "found": "b"}')}, "FAIL", "answered"),
        (register.INT2_4, {"tests": "tests/mcp: no such folder"}, "ERROR", "no such folder"),
        (register.INT2_4, {"tests": a_run(5)}, "ERROR", "no test was found"),
        (register.INT2_4, {"tests": a_run()}, "ERROR", "no test passed"),
        (register.INT2_4, {"tests": a_run(1, "a::b (no)", passed=2)}, "FAIL", "a::b"),
        (register.INT2_5, {"check": ended("a 1 has requirement b<2", 1)}, "FAIL", "conflicts"),
        (register.INT2_5, {"check": ended("", 0)}, "ERROR", "pip check exited 0"),
    ],
)
def test_each_check_can_fail(
    check_id: str, changes: dict[str, ChildRun | pytest_run.Tests | str], status: str, words: str
) -> None:
    """Nothing that is absent, broken or empty passes."""
    outcome = mcp.CHECKS[check_id](facts(**changes))
    assert outcome.status == status
    assert words in outcome.reason


def test_all_working_passes() -> None:
    """The facts that the failures above differ from."""
    assert [judge(facts()).status for judge in mcp.CHECKS.values()] == [Status.PASS] * 5
