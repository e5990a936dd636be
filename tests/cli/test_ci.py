"""The commands of CI: join results, print a report for the platform, write the step summary."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core.result import SessionResult, Status, write_result
from mlx_preflight.plan import register
from mlx_preflight.report import markdown
from mlx_preflight.run.context import RUN_ID_VARIABLE
from tests.cli.test_cli import project, run

Maker = Callable[..., dict[str, SessionResult]]

PLANNED = json.dumps([item.id for item in register.sessions("gates")])


@pytest.fixture
def jobs(tmp_path: Path, make_run: Maker) -> Path:
    """Return a project with the results of a passed run in `jobs` and its planned list."""
    for item in make_run("gates").values():
        write_result(project(tmp_path) / "jobs" / "one", item)
    (tmp_path / "planned.json").write_text(PLANNED)
    return tmp_path


def merge(root: Path, *arguments: str, planned: str = "") -> tuple[int, str, str]:
    at = ("--project", str(root), "--planned", planned or str(root / "planned.json"))
    done = run("merge", str(root / "jobs"), *at, *arguments)
    return done.returncode, done.stdout, done.stderr


def test_merge_judges_and_shows_the_verdict(jobs: Path) -> None:
    """It exits with the verdict's code, in both forms, and leaves every report."""
    code, out, _ = merge(jobs, "--run-id", "run-1")
    assert (code, "partial" in out) == (0, True)
    (jobs / "jobs" / "one" / "gate4-unit.json").unlink()
    code, out, _ = merge(jobs, "--run-id", "run-1", "--json")
    assert (code, json.loads(out)["status"]) == (3, "ERROR")
    names = {path.name for path in (jobs / ".preflight").iterdir()}
    assert names == {"report.json", "report.md", "report.html", "report.sarif", "junit.xml"}


def test_merge_reads_the_plan_from_stdin_and_the_run_from_the_environment(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is how the workflow hands both over."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(PLANNED))
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    assert merge(jobs, planned="-")[0] == 0


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '["gate1-format"]', "no such file"])
def test_merge_without_a_plan_is_an_error(jobs: Path, text: str) -> None:
    """A plan job that died hands over nothing, and nothing passes for it."""
    path = jobs / "planned.json"
    path.unlink()
    if text != "no such file":
        path.write_text(text)
    code, _, err = merge(jobs, "--run-id", "run-1")
    assert code == 3
    assert "planned list" in err


def test_merge_needs_a_run_and_a_project(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run id every file would count; both mistakes exit with 2."""
    monkeypatch.delenv(RUN_ID_VARIABLE, raising=False)
    assert merge(jobs)[0] == merge(jobs, "--run-id", " ")[0] == 2
    assert merge(jobs / "nowhere", "--run-id", "x")[0] == 2


def test_report_prints_every_format_with_the_verdicts_code(jobs: Path) -> None:
    """SARIF, JUnit and Markdown on stdout are the files that `merge` wrote."""
    (jobs / "jobs" / "one" / "gate2-lint.json").unlink()
    merge(jobs, "--run-id", "run-1")
    forms = {"sarif": "report.sarif", "junit": "junit.xml", "markdown": "report.md"}
    forms |= {"html": "report.html"}
    for form, name in forms.items():
        done = run("report", "--format", form, "--project", str(jobs))
        assert done.returncode == 3
        assert done.stdout == (jobs / ".preflight" / name).read_text(encoding="utf-8")
    assert ET.parse(jobs / ".preflight" / "junit.xml").getroot().get("errors") == "1"


@pytest.mark.slow
def test_the_step_summary_begins_with_the_verdict(jobs: Path, make_run: Maker) -> None:
    """It is capped, and the verdict is what a cut leaves."""
    results = make_run("gates")
    for item in results.values():
        checks = tuple(
            dataclasses.replace(check, status=Status.FAIL, reason=f"{check.id} é🎉 " * 9_000)
            for check in item.checks
        )
        write_result(jobs / "jobs" / "one", dataclasses.replace(item, checks=checks))
    merge(jobs, "--run-id", "run-1")
    done = run("report", "--format", "summary", "--project", str(jobs))
    assert done.returncode == 1
    assert done.stdout.startswith("# Preflight: needs\\_adapt\n\n**❌ FAIL**")
    assert len(done.stdout.encode()) <= markdown.MAX_BYTES


def test_a_step_summary_without_a_report_says_so(tmp_path: Path) -> None:
    """When nothing was judged, the summary is not empty and the step fails."""
    done = run("report", "--format", "summary", "--project", str(project(tmp_path)))
    assert done.returncode == 4
    assert done.stdout.startswith("# Preflight: no verdict\n\n**⚠️ ERROR**: ")
    assert "no report yet" in done.stdout
    assert run("report", "--project", str(tmp_path)).stdout == ""


@given(st.text(st.sampled_from("aé€🎉\n|"), max_size=40), st.integers(1_000, 4_000))
@settings(deadline=None, max_examples=25)
def test_a_cut_report_ends_at_a_line_and_says_so(
    make_report: Callable[..., dict[str, object]], text: str, size: int
) -> None:
    """Whatever the text and the size, no character is split, and the note is there."""
    report = make_report({}, "gates")
    report["stale"] = [text] * 9
    whole = markdown.render(report)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown, "MAX_BYTES", size)
        cut = markdown.render(report)
    assert len(cut.encode()) <= size
    assert "\N{REPLACEMENT CHARACTER}" not in cut
    assert cut == whole or "*Cut here: " in cut
    kept = cut.split("\n\n\n*Cut here")[0].split("\n\n*Cut here")[0]
    assert cut == whole or whole.startswith(f"{kept}\n")
