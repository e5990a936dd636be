"""`[tool.mlx-preflight]`: every setting of a project, with its default, rule and meaning.

To add one: a line here, and its use. `scripts/document_settings.py` writes
`docs/configuration.md` from these lines.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core import toml_table
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import (
    ABOVE_0,
    FOLDER,
    NOT_EMPTY,
    PERCENT,
    Table,
    at_least,
    one_of,
    setting,
)
from mlx_preflight.plan import profiles, spec
from mlx_preflight.plan.handoff_settings import Handoff

FAIL_AT = ("low", "medium", "high", "critical")
"""Severities from which an advisory may fail gate 8."""

NAME = "tool.mlx-preflight"
"""Name of the table in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Waiver(Table):
    """Advisory accepted for a time: `[[tool.mlx-preflight.audit-waivers]]`."""

    id: str = setting(..., "Id of the advisory, or one of its aliases.", example='"PYSEC-2021-66"')
    reason: str = setting(..., "Why it does no harm here.", example='"why it does no harm here"')
    expires: dt.date = setting(
        ...,
        "First day on which it no longer counts: from then on the advisory fails gate 8 again. "
        "A waiver that matches nothing fails, too.",
        example="2027-01-31",
    )

    def expired(self, today: dt.date) -> bool:
        """Return whether it no longer counts."""
        return today >= self.expires


CRITERIA = ("memory", "speed", "ease", "qlora", "m1_max")
"""The five criteria of the test plan; each weighs 1 unless the table says otherwise."""


@dataclass(frozen=True, slots=True)
class Selection(Table):
    """Weights by which a framework is selected, and the age limit of the evidence."""

    memory: float = setting(1.0, "Weight of the peak memory of a training.", at_least(0))
    speed: float = setting(1.0, "Weight of its tokens per second.", at_least(0))
    ease: float = setting(1.0, "Weight of installation, import and configuration.", at_least(0))
    qlora: float = setting(1.0, "Weight of training on a base model in four bits.", at_least(0))
    m1_max: float = setting(1.0, "Weight of the support for Apple silicon.", at_least(0))
    max_evidence_age_days: int = setting(
        180, "Oldest measurement that the evaluation may rest on, days.", at_least(1)
    )

    @property
    def weights(self) -> dict[str, float]:
        """Return criterion → weight."""
        return {name: float(getattr(self, name)) for name in CRITERIA}

    def validate(self, where: str) -> None:
        """Refuse weights by which nothing could be selected.

        Raises:
            UsageError: Every weight is 0.
        """
        if not any(self.weights.values()):
            raise UsageError(f"{where}: every weight is 0, so nothing could be selected")


@dataclass(frozen=True, slots=True)
class ProjectSettings(Table):
    """The project's settings; every key has a default."""

    profile: str = setting(
        profiles.EMBEDDED, "Profile used when none is named on the command line.", NOT_EMPTY
    )
    model: str | None = setting(
        None, "Folder or hub id that replaces the profile's model.", example='"./my-model"'
    )
    budget_gb: float | None = setting(
        None,
        "Memory budget in GB (10^9 bytes); without it the profile's.",
        ABOVE_0,
        example="16",
    )
    run: str | None = setting(
        None,
        "YAML of `mlx_lm.lora`: the training run that the group `run` judges. With it, the group "
        "is part of the plan.",
        NOT_EMPTY,
        example='"lora_config.yaml"',
    )
    max_hours: float | None = setting(
        None,
        "Hours that the training run of `run` may take; more fail the group `run`.",
        ABOVE_0,
        example="12",
    )
    default_group: str = setting("preflight", "What bare `nox` runs.", one_of(spec.GROUPS))
    source: str = setting("src", "Folder whose coverage counts.", FOLDER)
    acceptance: str = setting(
        "tests/acceptance", "Folder of the integration tests (gate 5).", FOLDER
    )
    coverage_min: float = setting(
        85.0, "Required share of covered lines, percent, compared exactly.", PERCENT
    )
    # A plain folder beside a flat package would be a second package for setuptools.
    baselines: str = setting(
        ".baselines",
        "Folder of the recorded baselines. Where it holds one, findings and tests are compared "
        "with it one by one, and the plain numbers below do not count.",
        FOLDER,
    )
    lint_max: int = setting(0, "Accepted number of ruff findings.", at_least(0))
    types_max: int = setting(0, "Accepted number of mypy errors.", at_least(0))
    lint_suppressions_max: int | None = setting(
        None,
        "Accepted number of `noqa`, `ruff: ignore` and configured ignores; without it any.",
        at_least(0),
        example="0",
    )
    types_suppressions_max: int | None = setting(
        None,
        "Accepted number of `type: ignore` and configured ignores; without it any.",
        at_least(0),
        example="0",
    )
    tests_select: str = setting(
        "",
        "pytest marker expression of the tests that gates 4 and 5 run; empty runs all. What it "
        "leaves out is counted and named in the result.",
        example='"not slow"',
    )
    tests_groups: tuple[str, ...] = setting(
        (),
        "Dependency groups and extras that the tests need; without it the first of `tests`, "
        "`test`, `testing` and `dev`.",
        example='["test", "typing"]',
    )
    tests_install: tuple[str, ...] = setting(
        (),
        "Requirements of the tests that stand in none of the places that are read.",
        example='["pytest-mock>=3"]',
    )
    # The test plan's "at least 10 passed, 3 skipped".
    tests_min: int = setting(
        10, "Unit tests that must have passed; of the acceptance tests at least one.", at_least(1)
    )
    tests_skipped_max: int = setting(
        3, "Tests that each test gate may skip, each for a stated reason.", at_least(0)
    )
    run_answers: bool = setting(True, "Whether generated code may be run in the sandbox.")
    audit_service: str = setting(
        "pypi", "Advisory service that gate 8 asks.", one_of(("pypi", "osv"))
    )
    audit_url: str | None = setting(
        None,
        'Address of an OSV-compatible service, with `audit-service = "osv"`.',
        example='"http://127.0.0.1:8080/v1/query"',
    )
    audit_live: str | None = setting(
        None,
        "Why the service of `audit-url` is known to be current; without it, a service that does "
        "not tell the age of its database proves nothing.",
        NOT_EMPTY,
        example='"mirrors osv.dev"',
    )
    audit_database: str | None = setting(
        None,
        "Zip or folder of OSV documents to ask instead of a service; excludes `audit-url`.",
        example='"all.zip"',
    )
    max_advisory_age_days: int = setting(
        14, 'Oldest database whose "clean" counts, days.', at_least(0)
    )
    audit_environment: str | None = setting(
        None,
        "What is audited instead of the installed runtime closure: a site-packages folder, "
        "`uv.lock`, `pylock.toml` or pinned requirements.",
        example='"uv.lock"',
    )
    fail_at: str = setting("high", "Least severity that fails gate 8.", one_of(FAIL_AT))
    timeout_s: float = setting(
        1800.0, "Longest time for one tool or one child process, seconds.", at_least(1)
    )
    generate_tokens: int = setting(128, "Longest answer in AC5, tokens.", at_least(20))
    train_steps: int = setting(5, "QLoRA steps measured in AC6.", at_least(3))
    train_tokens: int = setting(
        256, "Length of every row in AC6, tokens; memory grows with it.", at_least(32)
    )
    off: dict[str, str] = setting(
        dict,
        "Session that does not apply to this project → why; every report prints it.",
        example='{ gate7-build = "why it does not apply" }',
    )
    audit_exempt: dict[str, str] = setting(
        dict, "Package → why it is not audited.", example='{ package = "why it is not audited" }'
    )
    audit_waivers: tuple[Waiver, ...] = setting((), "Advisories accepted for a time.")
    selection: Selection = setting(
        Selection, "Weights of the criteria by which a framework is selected."
    )
    handoff: Handoff | None = setting(
        None, "Files for the next agent, written by `summary` only where this table exists."
    )

    def validate(self, where: str) -> None:
        """Refuse settings of the audit that contradict each other.

        Raises:
            UsageError: They do, or a waiver is listed twice.
        """
        if self.audit_url and self.audit_service != "osv":
            raise UsageError(f"{where} audit-url is asked only with audit-service = 'osv'")
        if self.audit_database and self.audit_url:
            raise UsageError(f"{where} audit-database and audit-url exclude each other")
        if self.audit_live is not None and not self.audit_url:
            raise UsageError(f"{where} audit-live: expected a reason, beside audit-url")
        ids = [waiver.id for waiver in self.audit_waivers]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise UsageError(f"{where} audit-waivers: {', '.join(twice)} listed twice")


def load_settings(project: Path, *, required: bool = True) -> ProjectSettings:
    """Read `[tool.mlx-preflight]` of a project; a project without it gets the defaults.

    Args:
        project: Its root.
        required: Whether it must have a pyproject.toml; else any folder is one.

    Raises:
        UsageError: The folder or the file is missing, the file is not TOML, a key is unknown,
            or a value has the wrong type.
    """
    path = project / "pyproject.toml"
    if not required and not path.exists():
        if not project.is_dir():
            raise UsageError(f"{project}: not a folder", hint="name one with --project")
        return ProjectSettings()
    if not path.is_file():
        raise UsageError(
            f"{path}: not found", hint="run in a project root, or name one with --project"
        )
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    tools = document.get("tool", {})
    if not isinstance(tools, dict):
        raise UsageError(f"{path}: tool: expected a table")
    return toml_table.read(ProjectSettings, NAME, tools.get("mlx-preflight", {}))
