"""Reports of a judged run, written into the project's state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlx_preflight.core.json_file import write_json, write_text
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.report import document, html, junit, markdown, sarif
from mlx_preflight.run import summary
from mlx_preflight.run.summary import JudgedRun
from mlx_preflight.run.verdict import Verdict


def summarize(state: Path, run_id: str, *, only: bool = False) -> tuple[Verdict, dict[str, Any]]:
    """Judge a run, see `summary.judge_last`, and write its reports.

    Raises:
        NothingRanError: There is neither a run nor a result.
        ResultError: The manifest cannot be used or is of another run, or the reports cannot
            be written.
    """
    judged = summary.judge_last(state, run_id, only=only)
    return judged.verdict, write_reports(state, judged)


def write_reports(state: Path, judged: JudgedRun) -> dict[str, Any]:
    """Write every report and return the document that all of them render.

    Raises:
        ResultError: A file cannot be written.
    """
    report = document.build(judged.verdict, judged.results, judged.run)
    paths = Workspace(state)
    write_json(paths.report, report)
    write_text(paths.markdown, markdown.render(report))
    write_text(paths.html, html.render(report))
    write_text(paths.junit, junit.render(report))
    write_text(paths.sarif, sarif.render(report))
    return report
