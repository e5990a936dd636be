"""The project's table and the profiles: nothing misspelt, mistyped or out of range passes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core import toml_table as table
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Evidence
from mlx_preflight.plan import profiles, settings
from mlx_preflight.plan.handoff_settings import Handoff
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run import context

ROOT = Path(__file__).resolve().parents[2]

ONE_WAIVER = "{ id = 'A', reason = 'b', expires = 2026-01-01 }"


def project(tmp_path: Path, table: str) -> Path:
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    return tmp_path


def test_a_project_without_a_table_gets_the_defaults(tmp_path: Path) -> None:
    """Nothing has to be configured."""
    assert settings.load_settings(project(tmp_path, "[project]\nname = 'x'\n")) == ProjectSettings()


def test_every_value_of_the_table_is_read(tmp_path: Path) -> None:
    """Keys are written with dashes and reach the field of the same name."""
    table = """[tool.mlx-preflight]
    profile = "qwen2.5-coder-7b"
    budget-gb = 24
    coverage-min = 84.6
    run-answers = false
    audit-exempt = { torch = "not on this platform" }
    """
    found = settings.load_settings(project(tmp_path, table))
    assert (found.profile, found.budget_gb, found.coverage_min) == ("qwen2.5-coder-7b", 24, 84.6)
    assert found.run_answers is False
    assert found.audit_exempt == {"torch": "not on this platform"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("coverage-mni = 90", "unknown key 'coverage-mni'; did you mean 'coverage-min'"),
        ("coverage_min = 90", "did you mean 'coverage-min'"),
        ("coverage-min = '90'", "expected int or float"),
        ("coverage-min = true", "expected int or float"),
        ("coverage-min = 101", "expected 0 to 100"),
        ("coverage-min = nan", "expected 0 to 100"),
        ("lint-max = 1.5", "expected int"),
        ("lint-max = -1", "lint-max = -1: expected at least 0"),
        ("source = ''", "source = '': expected a folder inside the project"),
        ("acceptance = '../other'", "expected a folder inside the project"),
        ("baselines = '/etc'", "expected a folder inside the project"),
        ("tests-min = 0", "tests-min = 0: expected at least 1"),
        ("generate-tokens = 19", "expected at least 20"),
        ("train-steps = 2", "expected at least 3"),
        ("timeout-s = 0", "expected at least 1"),
        ("timeout-s = nan", "expected at least 1"),
        ("timeout-s = inf", "expected at least 1"),
        ("budget-gb = 0", "expected a number above 0"),
        ("budget-gb = nan", "expected a number above 0"),
        ("budget-gb = inf", "expected a number above 0"),
        ("audit-service = 'pip'", "expected one of pypi, osv; did you mean 'pypi'?"),
        ("audit-exempt = { torch = '' }", "audit-exempt.torch: expected a reason"),
        ("audit-exempt = { torch = 3 }", "audit-exempt.torch: expected a reason"),
        ("fail-at = 'severe'", "expected one of low, medium, high, critical"),
        ("audit-url = 'http://127.0.0.1:1/v1/query'", "only with audit-service = 'osv'"),
        (
            "audit-service = 'osv'\naudit-url = 'http://x'\naudit-database = 'x'",
            "exclude each other",
        ),
        ("audit-live = ' '", "expected a text that is not empty"),
        ("default-group = 'gate'", "did you mean 'gates'?"),
        ("handoff = { profile = 'embeded' }", "did you mean 'embedded'?"),
        ("audit-live = 'why'", "audit-live: expected a reason, beside audit-url"),
        ("max-advisory-age-days = -1", "expected at least 0"),
        ("audit-waivers = [{ id = 'A', reason = 'why' }]", "expires missing"),
        ("audit-waivers = [{ id = 'A', reason = ' ', expires = 2026-01-01 }]", "reason missing"),
        ("audit-waivers = [{ id = 'A', reason = 'b', expires = 'soon' }]", "expires = 'soon'"),
        ("audit-waivers = [{ id = 'A', until = 2026-01-01 }]", "unknown key 'until'"),
        (f"audit-waivers = [{', '.join([ONE_WAIVER] * 2)}]", "listed twice"),
        ("handoff = { tsk = 'T001' }", "unknown key 'tsk'; did you mean 'task'"),
    ],
)
def test_a_wrong_value_is_refused(tmp_path: Path, line: str, said: str) -> None:
    """A wrong key, type or range is an error, not the default."""
    with pytest.raises(UsageError) as caught:
        settings.load_settings(project(tmp_path, f"[tool.mlx-preflight]\n{line}\n"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[tool", "not valid TOML"),
        (b"\xff = 1", "not valid TOML"),
        (b"tool = 3", "tool: expected a table"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    """A file that is not TOML, or not tables, is a usage error."""
    (tmp_path / "pyproject.toml").write_bytes(raw)
    with pytest.raises(UsageError, match=said):
        settings.load_settings(tmp_path)


def test_waivers_are_read_with_their_day(tmp_path: Path) -> None:
    """A TOML date and its text are the same; the waiver ends on that day."""
    lines = ["id = 'PYSEC-1'\nreason = 'why'\nexpires = 2026-12-01"]
    lines.append("id = 'PYSEC-2'\nreason = 'why'\nexpires = '2026-12-01'")
    text = "".join(f"[[tool.mlx-preflight.audit-waivers]]\n{item}\n" for item in lines)
    (tmp_path / "pyproject.toml").write_text(text)
    found = settings.load_settings(tmp_path).audit_waivers
    assert [item.id for item in found] == ["PYSEC-1", "PYSEC-2"]
    day = dt.date(2026, 12, 1)
    assert all(item.expires == day and item.expired(day) for item in found)
    assert not found[0].expired(day - dt.timedelta(days=1))


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    """Without pyproject.toml nothing is judged by defaults."""
    with pytest.raises(UsageError, match="not found") as caught:
        settings.load_settings(tmp_path)
    assert "--project" in caught.value.hint


def test_an_unknown_profile_suggests_the_nearest() -> None:
    """A misspelt profile is an error with a suggestion."""
    with pytest.raises(UsageError, match="'embeded'; did you mean 'embedded'"):
        profiles.find_profile("embeded")
    with pytest.raises(UsageError, match=r"did you mean 'qwen2\.5-coder-7b'"):
        context.choose(ProjectSettings(profile="qwen2.5-coder"))


def test_the_default_is_the_embedded_model() -> None:
    """A fresh project judges the embedded model, and says so in the evidence."""
    chosen = context.choose(ProjectSettings())
    assert (chosen.name, chosen.model, chosen.evidence) == (
        "embedded",
        "embedded",
        Evidence.EMBEDDED,
    )


def test_a_model_of_ones_own_is_target_evidence() -> None:
    """`--model` without a profile is `custom`, and never reads as the embedded model."""
    for chosen in (
        context.choose(ProjectSettings(), model="./mine"),
        context.choose(ProjectSettings(model="./mine")),
        context.choose(ProjectSettings(), profile="embedded", model="./mine"),
    ):
        assert (chosen.name, chosen.model, chosen.evidence) == (
            "custom",
            "./mine",
            Evidence.TARGET,
        )
        assert chosen.parameters is None


def test_a_named_profile_ignores_the_tables_model() -> None:
    """`--profile` on the command line means that profile's model."""
    chosen = context.choose(ProjectSettings(model="./mine"), profile="qwen2.5-coder-7b")
    assert chosen.model == "Qwen/Qwen2.5-Coder-7B-Instruct"


def test_a_profile_may_run_on_a_local_copy() -> None:
    """`--profile` with `--model` keeps the profile's expectations."""
    chosen = context.choose(ProjectSettings(), profile="qwen2.5-coder-7b", model="./copy")
    assert (chosen.model, chosen.parameters) == ("./copy", 7_615_616_512)


def test_the_command_lines_budget_wins() -> None:
    """Budget: command line, then table, then profile."""
    assert context.choose(ProjectSettings()).budget_gb == 16
    assert context.choose(ProjectSettings(budget_gb=24)).budget_gb == 24
    assert context.choose(ProjectSettings(budget_gb=24), budget_gb=8).budget_gb == 8


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_size_is_refused(budget: float) -> None:
    """A budget of nothing, NaN or infinity is a usage error."""
    with pytest.raises(UsageError, match="expected a number above 0"):
        context.choose(ProjectSettings(), budget_gb=budget)


@pytest.mark.parametrize("given", [{"model": ""}, {"model": " "}, {"profile": ""}])
def test_an_empty_name_is_no_default(given: dict[str, Any]) -> None:
    """`--model "$UNSET"` is an error: the embedded model would pass in its place."""
    with pytest.raises(UsageError):
        context.choose(ProjectSettings(), **given)
    with pytest.raises(UsageError):
        context.choose(dataclasses.replace(ProjectSettings(), **given))


def test_the_page_of_the_settings_follows_from_their_declarations(tmp_path: Path) -> None:
    """It is up to date, shows every key, and its example may be pasted as it is."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "document_settings.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").split("```toml\n")[1]
    (tmp_path / "pyproject.toml").write_text(shown.split("```")[0], encoding="utf-8")
    found = settings.load_settings(tmp_path)
    assert found.handoff == Handoff()
    assert dataclasses.replace(found, handoff=None, audit_waivers=()) == ProjectSettings()
    names = [item.key for item in table.settings(ProjectSettings)]
    assert [name for name in names if f"{name} = " not in shown and f".{name}]" not in shown] == []


def test_the_examples_of_the_settings_can_be_read(tmp_path: Path) -> None:
    """Each one alone, with what it needs beside it."""
    needs = {"audit-url": "audit-service = 'osv'", "audit-live": "audit-service = 'osv'"}
    for item in table.settings(ProjectSettings):
        lines = [needs.get(item.key, ""), f"{item.key} = {item.example}"]
        if item.key == "audit-live":
            lines.append("audit-url = 'http://127.0.0.1/'")
        if item.example:
            text = "\n".join(["[tool.mlx-preflight]", *lines])
            assert settings.load_settings(project(tmp_path, text)) != ProjectSettings()
