"""Tests of the paths below `.preflight`."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core.workspace import REPORTS, Workspace


def test_every_path_stays_where_earlier_runs_left_it() -> None:
    """Records, locks and reports of earlier versions are found again."""
    workspace = Workspace.of(Path("p"))
    found = {
        "results/ac4-loading.json": workspace.result("ac4-loading"),
        "artifacts/ac5-inference/answers.json": workspace.answers,
        "report.json": workspace.report,
        "report.md": workspace.markdown,
        "report.html": workspace.html,
        "junit.xml": workspace.junit,
        "report.sarif": workspace.sarif,
        "run.json": workspace.manifest,
        "run.lock": workspace.lock,
        "selftest.json": workspace.selftest,
        "benchmarks.jsonl": workspace.benchmarks,
        "history": workspace.history,
        "compare/peft.json": workspace.comparison("peft"),
        "agent-runs": workspace.agent_runs,
        "agent-run.json": workspace.agent_run,
        "agent-run.lock": workspace.agent_lock,
        "mcp-token": workspace.mcp_token,
        ".gitignore": workspace.ignore_file,
        "scripts/results": workspace.scripts.results,
    }
    assert found == {name: Path("p", ".preflight", name) for name in found}
    assert {path.name for path in workspace.reports} == set(REPORTS)
