"""Rows of the plan: the gates, and the self-test that makes each of them fail.

A gate's id names its check and its module, too: GATE1 of gates.format.
"""

from __future__ import annotations

from typing import Any

from mlx_preflight.plan.spec import Check, Session, ids

BLACK, RUFF, MYPY = "black>=25.9,<27", "ruff>=0.17,<0.18", "mypy>=1.18,<3"
PYTEST = ("pytest>=7.4,<10", "coverage[toml]>=7.10,<8")
BUILD, UV = "build>=1.3,<2", "uv>=0.9,<1"
PIP_AUDIT = ("pip-audit>=2.9,<3", "cvss>=3.3,<4")

GATE1_FORMAT, GATE2_LINT, GATE3_TYPES = "gate1-format", "gate2-lint", "gate3-types"
GATE4_UNIT, GATE5_INTEGRATION, GATE6_COVERAGE = "gate4-unit", "gate5-integration", "gate6-coverage"
GATE7_BUILD, GATE8_AUDIT = "gate7-build", "gate8-audit"
SELFTEST = "selftest"

GATE1, GATE2, GATE3, GATE4, GATE5, GATE6, GATE7, GATE8 = ids("GATE", 8)


def _gate(name: str, title: str, remedy: str, **options: Any) -> Session:
    check, _, module = name.partition("-")
    return Session(
        id=name,
        title=f"Gate {check.removeprefix('gate')}: {title}",
        tag="gates",
        module=f"gates.{module}",
        checks=(Check(check.upper(), title, remedy),),
        **options,
    )


GATES = (
    _gate(
        GATE1_FORMAT,
        "black finds nothing to reformat",
        "run `black .`",
        tools=(BLACK,),
    ),
    _gate(
        GATE2_LINT,
        "ruff finds no more than the accepted number of errors",
        "run `ruff check .` and fix what it names",
        tools=(RUFF,),
    ),
    _gate(
        GATE3_TYPES,
        "mypy finds no more than the accepted number of errors",
        "run `mypy .` and fix what it names",
        requirements=(MYPY,),
        stack="tests",
    ),
    _gate(
        GATE4_UNIT,
        "every unit test passes",
        "run `pytest -q` and fix what fails",
        requirements=PYTEST,
        stack="tests",
    ),
    _gate(
        GATE5_INTEGRATION,
        "every acceptance test passes",
        "run `pytest -q tests/acceptance` and fix what fails",
        requirements=PYTEST,
        stack="tests",
    ),
    _gate(
        GATE6_COVERAGE,
        "line coverage of the source is high enough, exactly compared",
        "test the lines that the report names",
        requirements=PYTEST,
        stack="tests",
        # It reads what gates 4 and 5 measured, so it must start after both ended.
        parallel=False,
    ),
    _gate(
        GATE7_BUILD,
        "sdist and wheel build",
        "run `python -m build` and fix what it names",
        tools=(BUILD, UV),
        # A source walk beside running tests meets files that vanish under it.
        parallel=False,
    ),
    _gate(
        GATE8_AUDIT,
        "no severe known vulnerability in the runtime environment, and every package was audited",
        "upgrade the packages named; where nothing could be audited, name a reachable "
        "advisory service with audit-service and audit-url, or a database with audit-database",
        tools=PIP_AUDIT,
        stack="runtime",
    ),
)

SELF = ids("SELF.", len(GATES))
"""Checks of the self-test, one per gate."""

SELFTEST_SESSION = Session(
    SELFTEST,
    "Self-test: every gate turns red for its fault, and for nothing else",
    "selftest",
    "selftest.session",
    tuple(
        Check(name, f"gate {number} can fail", "try another version of the tool")
        for number, name in enumerate(SELF, 1)
    ),
    tools=(BLACK, RUFF, BUILD, UV, *PIP_AUDIT),
)
