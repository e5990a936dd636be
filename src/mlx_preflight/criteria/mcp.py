"""Integration test 2: the MCP server works beside the MLX stack, in one venv."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlx_preflight.core.child import run_child, side_by_side
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.criteria import clean_venv
from mlx_preflight.gates import pytest_run
from mlx_preflight.gates.pytest_run import Tests
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

TESTS = "tests/mcp"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Outcome of the probes, the tests and `pip check`; `tests` may be why they did not run."""

    probes: dict[str, ChildRun]
    tests: Tests | str
    pip_check: ChildRun


def gather(session: Session, context: Context) -> ServerFacts:
    """Probe server, memory and index in fresh processes, run the tests, run `pip check`."""
    timeout_s = context.settings.timeout_s

    def python(*arguments: str) -> ChildRun:
        env = pytest_run.environment(context.scratch(session.id) / "coverage")
        return run_child(
            [str(context.python), *arguments], cwd=context.project, timeout_s=timeout_s, env=env
        )

    names = ("server", "memory", "index")
    with side_by_side(2) as pool:
        probes = pool.map(lambda name: python("-m", "mcp_local.probe", name), names)
        found = dict(zip(names, probes, strict=True))
    tests = _tests(session, context)
    check = python("-m", "pip", "--disable-pip-version-check", "check")
    return ServerFacts(found, tests, check)


def _tests(session: Session, context: Context) -> Tests | str:
    """Run the project's MCP tests, or say why they left nothing to judge."""
    if not (context.project / TESTS).is_dir():
        return f"{TESTS}: no such folder"
    try:
        return pytest_run.run(context, session.id, [TESTS])
    except PreflightError as error:
        return str(error)


def int2_4(facts: ServerFacts) -> Outcome:
    """Prove that the project's MCP tests pass."""
    if isinstance(facts.tests, str):
        return Outcome(Status.ERROR, facts.tests)
    return pytest_run.judge_run(facts.tests)


def _probed(facts: ServerFacts, *, name: str, right: Callable[[Any], bool], words: str) -> Outcome:
    done = facts.probes[name]
    seconds = Measurement("duration_s", round(done.duration_s, 2), "s")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        cause = done.signal_reason() or done.tail(2) or done.exit_reason()
        return Outcome(Status.FAIL, f"the {name} does not work: {cause}", measurements=(seconds,))
    if done.returncode != 0 or not right(found):
        return Outcome(Status.FAIL, f"the {name} answered {found}", measurements=(seconds,))
    return Outcome(Status.PASS, words.format(**found), measurements=(seconds,))


CHECKS: dict[str, Callable[[ServerFacts], Outcome]] = {
    register.INT2_1: partial(
        _probed,
        name="server",
        right=lambda found: found["tools"] >= 1,
        words="{tools} tools are listed",
    ),
    register.INT2_2: partial(
        _probed,
        name="memory",
        right=lambda found: found == {"records": 1, "verdict": "needs_adapt"},
        words="a run was written, read back and found by a filter",
    ),
    register.INT2_3: partial(
        _probed,
        name="index",
        right=lambda found: found == {"points": 2, "found": "a"},
        words="a text was found again by other words",
    ),
    register.INT2_4: int2_4,
    register.INT2_5: lambda facts: clean_venv.judge_pip_check(facts.pip_check),
}
