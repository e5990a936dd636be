"""A small clean project, and the faults that must each turn exactly their gates red."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlx_preflight.plan.register import (
    GATE1_FORMAT,
    GATE2_LINT,
    GATE3_TYPES,
    GATE4_UNIT,
    GATE5_INTEGRATION,
    GATE6_COVERAGE,
    GATE7_BUILD,
    GATE8_AUDIT,
)

PYPROJECT = """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "sample"
version = "1.0"
dependencies = ["jinja2"]

[tool.hatch.build.targets.wheel]
packages = ["src/sample"]

[tool.ruff.lint]
select = ["E", "F"]

[tool.mypy]
strict = true

[tool.pytest.ini_options]
pythonpath = ["src"]
# Plugins that the sample has no use for would cost most of the time.
addopts = "-p no:hypothesispytest -p no:anyio"
"""

_MODULE = '''"""Add numbers."""


def add(left: int, right: int) -> int:
    """Return the sum."""
    return left + right
'''

_TEST = '''"""Test the sum."""

from sample import add


def test_add() -> None:
    """One and two are three."""
    assert add(1, 2) == 3
'''

ENVIRONMENT, DATABASE = "site-packages", "advisories"
"""What the audit examines, and what it asks: both are in the sample, so it needs no network."""

_METADATA = f"{ENVIRONMENT}/jinja2.dist-info/METADATA"
_ADVISORY = {
    "id": "PYSEC-2019-217",
    "aliases": ["CVE-2019-10906", "GHSA-462w-v97r-4m45"],
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
        }
    ],
}
"""A published fact, as an OSV record; it gets today's date, as it is the sample's database."""


def _installed(version: str) -> str:
    return f"Metadata-Version: 2.1\nName: jinja2\nVersion: {version}\n"


CLEAN: Mapping[str, str] = {
    "pyproject.toml": PYPROJECT,
    "src/sample/__init__.py": _MODULE,
    "src/sample/py.typed": "",
    "tests/test_add.py": _TEST,
    "tests/acceptance/test_whole.py": _TEST,
    _METADATA: _installed("3.1.6"),
}
"""The project that no gate may find fault with, by path."""

_SKIPPED = '''"""Test nothing."""

import pytest


@pytest.mark.skip(reason="needs another machine")
def test_add() -> None:
    """Never run."""
'''

_VALUES_TEST = '''"""Test a value."""

from sample import values


def test_value() -> None:
    """The first is nothing."""
    assert values.VALUE_0 == 0
'''

_STATEMENTS, _MISSING = 500, 77
"""84.60 % covered: coverage's own `fail_under` of 85 prints FAIL and exits 0 there."""


def _partly_covered() -> str:
    """Return a module that makes the clean project's coverage 84.60 % when it is imported."""
    # Two statements are the clean module's, one is the function that nobody calls.
    run = [f"VALUE_{number} = {number}" for number in range(_STATEMENTS - _MISSING - 3)]
    never = [f"    value = {number}" for number in range(_MISSING - 1)]
    body = "\n".join(never)
    head = "\n".join(run)
    return f'"""Hold values."""\n\n{head}\n\n\ndef never() -> int:\n{body}\n    return value\n'


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad sample.

    Attributes:
        name: What is wrong, in words.
        gates: Sessions that must not pass; all others must. Empty for a project that is as
            clean as the sample, and that a careless gate would call faulty.
        files: Path → content that replaces or joins the clean project.
        audited: What gate 8 examines; None is the environment that the project asks for.
    """

    name: str
    gates: frozenset[str]
    files: Mapping[str, str] = field(default_factory=dict)
    audited: str | None = ENVIRONMENT


_LOCK = """version = 1
[[package]]
name = "sample"
version = "1.0"
source = { editable = "." }
dependencies = [{ name = "markupsafe" }]
[package.metadata]
requires-dist = [{ name = "markupsafe" }]
[[package]]
name = "markupsafe"
version = "3.0.2"
"""

_UNDECLARED_TEST = (
    '"""Test nothing of its own."""\n\nimport yaml\n\n\n'
    'def test_load() -> None:\n    """It reads."""\n    assert yaml.safe_load("1") == 1\n'
)

_PIN_TEST = '''"""Test the pin."""

import importlib.metadata


def test_pin() -> None:
    """What the project pins is what runs."""
    assert importlib.metadata.version("jinja2") == "2.11.2"
'''


def _pinned(version: str) -> str:
    """Return the clean project's table with a pin of what the harness needs, too."""
    return PYPROJECT.replace('"jinja2"]', f'"jinja2=={version}"]')


# Files below `tests` that pytest does not collect concern the three static gates only.
FAULTS = (
    Fault(
        "an unformatted file", frozenset({GATE1_FORMAT}), {"tests/ugly.py": "VALUES = {  'a':1 }\n"}
    ),
    Fault("an unused import", frozenset({GATE2_LINT}), {"tests/unused.py": "import os\n"}),
    Fault("a wrong type", frozenset({GATE3_TYPES}), {"tests/wrong.py": 'NUMBER: int = "one"\n'}),
    Fault(
        "a syntax error",
        frozenset({GATE1_FORMAT, GATE2_LINT, GATE3_TYPES}),
        {"tests/broken.py": "def broken(:\n"},
    ),
    Fault(
        "a failing test",
        frozenset({GATE4_UNIT}),
        {"tests/test_wrong.py": 'def test_wrong() -> None:\n    assert int("1") == 2\n'},
    ),
    Fault("only skipped tests", frozenset({GATE4_UNIT}), {"tests/test_add.py": _SKIPPED}),
    Fault(
        "a failing acceptance test",
        frozenset({GATE5_INTEGRATION}),
        {
            "tests/acceptance/test_wrong.py": (
                'def test_wrong() -> None:\n    assert int("1") == 2\n'
            )
        },
    ),
    Fault(
        "84.60 % of lines covered",
        frozenset({GATE6_COVERAGE}),
        {
            "src/sample/values.py": _partly_covered(),
            "tests/test_values.py": _VALUES_TEST,
        },
    ),
    Fault(
        "a module that no test imports",
        frozenset({GATE6_COVERAGE}),
        {"src/sample/alone.py": "ONE = 1\nTWO = 2\n"},
    ),
    Fault(
        "a package that does not build",
        frozenset({GATE7_BUILD}),
        {"pyproject.toml": PYPROJECT.replace("src/sample", "src/nothing")},
    ),
    Fault(
        "a pin that is known to be vulnerable",
        frozenset({GATE8_AUDIT}),
        {_METADATA: _installed("2.10")},
    ),
    Fault(
        "a vulnerable pin of what the harness needs, too",
        frozenset({GATE8_AUDIT}),
        {"pyproject.toml": _pinned("2.10")},
        audited=None,
    ),
    Fault(
        "a lock that is older than its project",
        frozenset({GATE8_AUDIT}),
        {"pyproject.toml": _pinned("2.10"), "uv.lock": _LOCK},
        audited="uv.lock",
    ),
    Fault(
        "an import that nobody declared",
        frozenset({GATE3_TYPES, GATE4_UNIT}),
        {"tests/test_undeclared.py": _UNDECLARED_TEST},
    ),
    Fault(
        "a test of a pin below the harness's own version",
        frozenset(),
        {
            "pyproject.toml": _pinned("2.11.2"),
            "tests/test_pin.py": _PIN_TEST,
            _METADATA: _installed("2.11.2"),
        },
    ),
)


def write(folder: Path, fault: Fault | None = None) -> Path:
    """Write the clean project, with a fault if one is given, and return its folder."""
    advisory = {**_ADVISORY, "modified": dt.datetime.now(dt.UTC).isoformat()}
    known = {f"{DATABASE}/{advisory['id']}.json": json.dumps(advisory)}
    for name, text in {**CLEAN, **known, **(fault.files if fault else {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
