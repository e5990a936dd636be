"""The probes of integration test 2 answer what its checks want, and the checks can fail."""

from __future__ import annotations

import json

import pytest

from mcp_local import probe
from mlx_preflight.integration import mcp
from mlx_preflight.isolate import Finished
from mlx_preflight.result import Status


def ended(stdout: str = "", code: int = 0, stderr: str = "") -> Finished:
    """Return how a child ended."""
    return Finished(("x",), code, stdout, stderr, 0.5, truncated=False)


def facts(**changes: Finished | str) -> mcp.Facts:
    """Return facts in which everything works, but for what is named."""
    probes = {
        "server": ended(json.dumps({"tools": 14})),
        "memory": ended(json.dumps({"records": 1, "verdict": "needs_adapt"})),
        "index": ended(json.dumps({"points": 2, "found": "a"})),
    }
    found = {name: item for name, item in changes.items() if isinstance(item, Finished)}
    tests = changes.get("tests", ended("....\n4 passed in 1.00s"))
    check = found.get("check", ended("No broken requirements found."))
    return mcp.Facts({name: found.get(name, probes[name]) for name in probes}, tests, check)


@pytest.mark.parametrize("name", ["server", "memory", "index"])
def test_each_part_works(name: str) -> None:
    """What the probe answers in this process is what its check passes."""
    answer = ended(json.dumps(probe.PROBES[name]()))
    judge = {"server": mcp.int2_1, "memory": mcp.int2_2, "index": mcp.int2_3}[name]
    outcome = judge(facts(**{name: answer}))
    assert outcome.status is Status.PASS, outcome.reason


@pytest.mark.parametrize(
    ("judge", "changes", "status", "words"),
    [
        (mcp.int2_1, {"server": ended("", 1, "ImportError: mcp")}, "FAIL", "ImportError: mcp"),
        (mcp.int2_1, {"server": ended('{"tools": 0}')}, "FAIL", "answered"),
        (mcp.int2_2, {"memory": ended("", -9)}, "FAIL", "SIGKILL"),
        (mcp.int2_3, {"index": ended('{"points": 2, "found": "b"}')}, "FAIL", "answered"),
        (mcp.int2_4, {"tests": "tests/mcp: no such folder"}, "ERROR", "no such folder"),
        (mcp.int2_4, {"tests": ended("no tests ran in 0.01s", 5)}, "ERROR", "no test passed"),
        (mcp.int2_4, {"tests": ended("3 skipped in 0.01s")}, "ERROR", "no test passed"),
        (mcp.int2_4, {"tests": ended("FAILED a::b\n1 failed, 2 passed", 1)}, "FAIL", "a::b"),
        (mcp.int2_5, {"check": ended("a 1 has requirement b<2", 1)}, "FAIL", "conflicts"),
        (mcp.int2_5, {"check": ended("", 0)}, "ERROR", "pip check exited 0"),
    ],
)
def test_each_check_can_fail(
    judge: object, changes: dict[str, Finished | str], status: str, words: str
) -> None:
    """Nothing that is absent, broken or empty passes."""
    assert callable(judge)
    outcome = judge(facts(**changes))
    assert outcome.status == status
    assert words in outcome.reason


def test_all_working_passes() -> None:
    """The facts that the failures above differ from."""
    judges = (mcp.int2_1, mcp.int2_2, mcp.int2_3, mcp.int2_4, mcp.int2_5)
    assert [judge(facts()).status for judge in judges] == [Status.PASS] * 5
