"""Read and hold the `[tool.mlx-preflight]` table of a project.

It must import nothing beyond the standard library: the noxfile imports it before anything
is installed.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from mlx_preflight import handoff_table, plan, selection_table, table, waiver_table
from mlx_preflight.errors import UsageError
from mlx_preflight.handoff_table import Handoff
from mlx_preflight.selection_table import Selection
from mlx_preflight.waiver_table import Waiver

FAIL_AT = ("low", "medium", "high", "critical")
"""Severities from which an advisory may fail gate 8."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the project's `[tool.mlx-preflight]` table; every key has a default.

    Attributes:
        profile: Profile used when none is named on the command line.
        model: Folder or hub id that replaces the profile's model.
        budget_gb: Memory budget in GB (10^9 bytes); None takes the profile's.
        source: Folder whose coverage counts.
        acceptance: Folder of the integration tests (gate 5).
        coverage_min: Required share of covered lines, percent, compared exactly.
        baselines: Folder of the recorded baselines; where it holds one, findings and tests
            are compared with it one by one, and the plain numbers below do not count.
        lint_max: Accepted number of ruff findings.
        types_max: Accepted number of mypy errors.
        lint_suppressions_max: Accepted number of `noqa`, `ruff: ignore` and configured ignores.
        types_suppressions_max: Accepted number of `type: ignore` and configured ignores.
        tests_select: pytest marker expression of the tests that gates 4 and 5 run; empty
            runs all. What it leaves out is counted and named in the result.
        tests_min: Unit tests that must have passed; of the acceptance tests at least one.
        tests_skipped_max: Tests that each test gate may skip, each for a stated reason.
        run_answers: Whether generated code may be run in the sandbox.
        audit_service: `pypi` or `osv`.
        audit_url: Address of an OSV-compatible service, with `audit_service = "osv"`.
        audit_live: Why that service is known to be current; without it, a service that does
            not tell the age of its database proves nothing.
        audit_database: Zip or folder of OSV documents to ask instead of a service.
        max_advisory_age_days: Oldest database whose "clean" counts.
        audit_environment: What is audited instead of this venv's runtime closure: a
            site-packages folder, `uv.lock`, `pylock.toml` or pinned requirements.
        audit_exempt: Package name → reason why it is not audited.
        audit_waivers: Advisories accepted for a time.
        fail_at: Least severity that fails: `low`, `medium`, `high` or `critical`.
        timeout_s: Longest time for one tool or one child process, seconds.
        generate_tokens: Longest answer in AC5, tokens.
        train_steps: QLoRA steps measured in AC6.
        train_tokens: Length of every row in AC6, tokens; memory grows with it.
        default_group: What bare `nox` runs: `preflight`, `gates`, `ac` or `e2e`.
        off: Session → why it does not apply to this project; the report prints it.
        handoff: Files for the next agent; None writes none.
        selection: Weights of the criteria by which a framework is selected.
    """

    profile: str = plan.EMBEDDED
    model: str | None = None
    budget_gb: float | None = None
    source: str = "src"
    acceptance: str = "tests/acceptance"
    coverage_min: float = 85.0
    # A plain folder beside a flat package would be a second package for setuptools.
    baselines: str = ".baselines"
    lint_max: int = 0
    types_max: int = 0
    lint_suppressions_max: int | None = None
    types_suppressions_max: int | None = None
    tests_select: str = ""
    # The test plan's "at least 10 passed, 3 skipped".
    tests_min: int = 10
    tests_skipped_max: int = 3
    run_answers: bool = True
    audit_service: str = "pypi"
    audit_url: str | None = None
    audit_live: str | None = None
    audit_database: str | None = None
    max_advisory_age_days: int = 14
    audit_environment: str | None = None
    audit_exempt: dict[str, str] = field(default_factory=dict)
    audit_waivers: tuple[Waiver, ...] = ()
    fail_at: str = "high"
    timeout_s: float = 1800.0
    generate_tokens: int = 128
    train_steps: int = 5
    train_tokens: int = 256
    default_group: str = "preflight"
    off: dict[str, str] = field(default_factory=dict)
    handoff: Handoff | None = None
    selection: Selection = field(default_factory=Selection)


_TYPES: dict[str, tuple[type, ...]] = {
    "profile": (str,),
    "model": (str,),
    "budget_gb": (int, float),
    "source": (str,),
    "acceptance": (str,),
    "coverage_min": (int, float),
    "baselines": (str,),
    "lint_max": (int,),
    "types_max": (int,),
    "lint_suppressions_max": (int,),
    "types_suppressions_max": (int,),
    "tests_select": (str,),
    "tests_min": (int,),
    "tests_skipped_max": (int,),
    "run_answers": (bool,),
    "audit_service": (str,),
    "audit_url": (str,),
    "audit_live": (str,),
    "audit_database": (str,),
    "max_advisory_age_days": (int,),
    "audit_environment": (str,),
    "audit_exempt": (dict,),
    "audit_waivers": (list,),
    "fail_at": (str,),
    "timeout_s": (int, float),
    "generate_tokens": (int,),
    "train_steps": (int,),
    "train_tokens": (int,),
    "default_group": (str,),
    "off": (dict,),
    "handoff": (dict,),
    "selection": (dict,),
}


def load_settings(project: Path) -> Settings:
    """Read `[tool.mlx-preflight]` of a project; a project without it gets the defaults.

    Raises:
        UsageError: The file is not TOML, a key is unknown, or a value has the wrong type.
    """
    path = project / "pyproject.toml"
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
    found = tools.get("mlx-preflight", {})
    values = table.read("[tool.mlx-preflight]", found, _TYPES)
    if "handoff" in values:
        values["handoff"] = handoff_table.read(values["handoff"])
        plan.find_profile(values["handoff"].profile)
    if "selection" in values:
        values["selection"] = selection_table.read(values["selection"])
    if "audit_waivers" in values:
        values["audit_waivers"] = waiver_table.read(values["audit_waivers"])
    settings = Settings(**values)
    _check_ranges(settings)
    _check_folders(settings)
    _check_audit(settings)
    return settings


def _check_folders(settings: Settings) -> None:
    for name in ("source", "acceptance", "baselines"):
        value = getattr(settings, name)
        path = PurePath(value)
        if not value.strip() or "\0" in value or path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{name} = {value!r}: expected a folder inside the project")


def _check_ranges(settings: Settings) -> None:
    if settings.budget_gb is not None and not 0 < settings.budget_gb < math.inf:
        raise UsageError(f"budget-gb = {settings.budget_gb}: expected a number above 0")
    if not 0 <= settings.coverage_min <= 100.0:  # noqa: PLR2004
        raise UsageError(f"coverage-min = {settings.coverage_min}: expected 0 to 100 percent")
    for name, least in (
        ("lint_max", 0),
        ("types_max", 0),
        ("lint_suppressions_max", 0),
        ("types_suppressions_max", 0),
        ("tests_min", 1),
        ("tests_skipped_max", 0),
        ("max_advisory_age_days", 0),
        ("generate_tokens", 20),
        ("train_steps", 3),
        ("train_tokens", 32),
        ("timeout_s", 1),
    ):
        value = getattr(settings, name)
        if value is not None and not least <= value < math.inf:  # also refuses TOML's nan and inf
            raise UsageError(f"{name.replace('_', '-')} = {value}: expected at least {least}")
    if settings.default_group not in plan.GROUPS:
        name = settings.default_group
        raise UsageError(f"unknown default-group {name!r}{table.suggest(name, plan.GROUPS)}")
    for key, reasons in (("audit-exempt", settings.audit_exempt), ("off", settings.off)):
        for name, reason in reasons.items():
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(f"{key}.{name}: expected a reason, found {reason!r}")


def _check_audit(settings: Settings) -> None:
    if settings.audit_service not in ("pypi", "osv"):
        raise UsageError(f"audit-service = {settings.audit_service!r}: expected 'pypi' or 'osv'")
    if settings.fail_at not in FAIL_AT:
        known = ", ".join(FAIL_AT)
        raise UsageError(f"fail-at = {settings.fail_at!r}: expected one of {known}")
    if settings.audit_url and settings.audit_service != "osv":
        raise UsageError("audit-url is asked only with audit-service = 'osv'")
    if settings.audit_database and settings.audit_url:
        raise UsageError("audit-database and audit-url exclude each other")
    if settings.audit_live is not None and not (settings.audit_live.strip() and settings.audit_url):
        raise UsageError("audit-live: expected a reason, beside audit-url")
