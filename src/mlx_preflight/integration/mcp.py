"""Judge integration test 2: the server for agents works beside the MLX stack, in one venv."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import Any

from mlx_preflight.criteria import clean_venv
from mlx_preflight.gates.pytest_run import environment
from mlx_preflight.isolate import Finished, run_child, side_by_side
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

TESTS = "tests/mcp"

_NO_TESTS = 5
"""pytest's exit code when it found nothing to run."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold how each probe, the tests and `pip check` ended; `tests` is why they did not run."""

    probes: dict[str, Finished]
    tests: Finished | str
    pip_check: Finished


def gather(session: Session, context: Context) -> Facts:
    """Probe server, memory and index in fresh processes, run the tests, run `pip check`."""
    timeout_s = context.settings.timeout_s

    def python(*arguments: str) -> Finished:
        env = environment(context.scratch(session.id) / "coverage")
        return run_child(
            [sys.executable, *arguments], cwd=context.project, timeout_s=timeout_s, env=env
        )

    names = ("server", "memory", "index")
    with side_by_side(2) as pool:
        probes = pool.map(lambda name: python("-m", "mcp_local.probe", name), names)
        found = dict(zip(names, probes, strict=True))
    tests: Finished | str = f"{TESTS}: no such folder"
    if (context.project / TESTS).is_dir():
        select = context.settings.tests_select
        marked = ["-m", select] if select else []
        tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *marked, TESTS)
    check = python("-m", "pip", "--disable-pip-version-check", "check")
    return Facts(found, tests, check)


def int2_1(facts: Facts) -> Outcome:
    """Prove that a client can connect to a created server and list its tools."""
    return _probed(facts, "server", lambda found: found["tools"] >= 1, "{tools} tools are listed")


def int2_2(facts: Facts) -> Outcome:
    """Prove that a run is remembered, read back and found."""
    return _probed(
        facts,
        "memory",
        lambda found: found == {"records": 1, "verdict": "needs_adapt"},
        "a run was written, read back and found by a filter",
    )


def int2_3(facts: Facts) -> Outcome:
    """Prove that a text is indexed on disk and found after the index was opened anew."""
    return _probed(
        facts,
        "index",
        lambda found: found == {"points": 2, "found": "a"},
        "a text was found again by other words",
    )


def int2_4(facts: Facts) -> Outcome:
    """Prove that the project's MCP tests pass."""
    ran = facts.tests
    if isinstance(ran, str):
        return Outcome(Status.ERROR, ran)
    passed = re.search(r"\b(\d+) passed\b", ran.stdout)
    count = int(passed[1]) if passed else 0
    measured = (
        Measurement("tests_passed", count, "count", ">= 1"),
        Measurement("duration_s", round(ran.duration_s, 2), "s"),
    )
    last = (ran.stdout.strip().splitlines() or [ran.tail(1)])[-1]
    if ran.returncode == _NO_TESTS or (ran.returncode == 0 and not count):
        return Outcome(Status.ERROR, f"no test passed: {last}", measurements=measured)
    if ran.returncode != 0:
        named = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)[:5]
        reason = f"pytest exited {ran.returncode}: {last} {' '.join(named)}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    return Outcome(Status.PASS, last, measurements=measured)


def int2_5(facts: Facts) -> Outcome:
    """Prove that server and MLX stack share this venv without a conflict."""
    return clean_venv.judge_pip_check(facts.pip_check)


def _probed(facts: Facts, name: str, right: Any, words: str) -> Outcome:
    done = facts.probes[name]
    seconds = Measurement("duration_s", round(done.duration_s, 2), "s")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        cause = done.death() or done.tail(2) or f"exit {done.returncode}"
        return Outcome(Status.FAIL, f"the {name} does not work: {cause}", measurements=(seconds,))
    if done.returncode != 0 or not right(found):
        return Outcome(Status.FAIL, f"the {name} answered {found}", measurements=(seconds,))
    return Outcome(Status.PASS, words.format(**found), measurements=(seconds,))
