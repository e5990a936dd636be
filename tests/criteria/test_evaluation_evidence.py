"""AC1.7 and AC2.5: every figure of the evaluation stands in evidence that still counts."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import BlockedError, ResultError
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.core.units import format_bytes
from mlx_preflight.criteria import evaluation_evidence
from mlx_preflight.documents import evaluation, training_documents
from mlx_preflight.frameworks import evidence, framework, measure, record

ROOT = Path(__file__).resolve().parents[2]
TODAY = max(
    dt.date.fromisoformat(json.loads(evidence.path(ROOT, name).read_text())["date"][:10])
    for name in framework.names()
)

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the shipped documents and their evidence."""
    shutil.copytree(ROOT / "docs" / "training", tmp_path / "docs" / "training")
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def judged(project: Path, today: dt.date) -> Outcome:
    """Return how AC1.7 ends on a day."""
    return evaluation_evidence.judge_evidence(evaluation_evidence.gather(project, today))


def change(path: Path, how: Change) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    how(data)
    path.write_text(json.dumps(data))


def test_the_shipped_evaluation_is_the_one_that_its_evidence_gives(project: Path) -> None:
    """Nothing differs, nothing is uncited, nothing is stale on the day of the measurement."""
    found = judged(project, TODAY)
    assert found.status is Status.PASS, found.reason
    assert evaluation.uncited(project) == ()


def test_rendering_twice_gives_the_same_bytes(project: Path) -> None:
    """The committed files come out again, pictures too."""
    before = {path: (project / path).read_bytes() for path in evaluation.expected(project)}
    assert len(before) == 4
    for path in before:
        (project / path).unlink()
    evaluation.render(project)
    assert {path: (project / path).read_bytes() for path in before} == before


@pytest.mark.parametrize("file", ["T001_framework_evaluation.md", "frameworks_memory.svg"])
def test_a_number_that_the_evidence_does_not_hold_fails(project: Path, file: str) -> None:
    """One digit changed in the report or in a picture names its line and the way back."""
    path = project / training_documents.FOLDER / file
    text = path.read_text()
    peak = json.loads(evidence.path(project, "mlx-lm").read_text())["train"]
    shown = format_bytes(max(run["peak_rss_bytes"] for run in peak))
    assert shown in text
    path.write_text(text.replace(shown, f"9{shown}"))
    found = judged(project, TODAY)
    assert found.status is Status.FAIL
    assert f"{file}:" in found.reason
    assert found.remedy == evaluation_evidence.RENDER


def test_evidence_that_is_too_old_fails_with_the_command(project: Path) -> None:
    """On the last day it counts, a day later it does not; a shorter limit is kept, too."""
    assert judged(project, TODAY + dt.timedelta(180)).status is Status.PASS
    found = judged(project, TODAY + dt.timedelta(181))
    assert (found.status, found.remedy) == (Status.FAIL, evidence.REFRESH)
    assert "181 days old, at most 180 count" in found.reason
    table = project / "pyproject.toml"
    table.write_text("[tool.mlx-preflight.selection]\nmax-evidence-age-days = 3\n")
    assert judged(project, TODAY + dt.timedelta(4)).status is Status.FAIL


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("axolotl", lambda d: d["install"]["packages"].update(axolotl="0.18.0"), "axolotl 0.18.0"),
        ("peft", lambda d: d["install"]["packages"].pop("trl"), "trl None"),
        ("mlx-lm", lambda d: d["install"]["packages"].update({"mlx-lm": "0.33.1"}), "mlx-lm 0.33"),
        ("peft", lambda d: d.update(date="2099-01-01T00:00:00+00:00"), "in the future"),
        ("peft", lambda d: d.update(date="yesterday"), "incomplete"),
        ("peft", lambda d: d.update(schema=2), "not of schema"),
        ("peft", lambda d: d.update(framework="axolotl"), "not about peft"),
        ("peft", lambda d: d["adapter"].update(scale=8.0), "B·A is multiplied by 8"),
        ("axolotl", lambda d: d["train"][0]["loss"].__setitem__(0, 11.5), "trains on something"),
        ("mlx-lm", lambda d: d["train"][0].update(peak_rss_bytes=99_000_000), "disagree"),
        ("mlx-lm", lambda d: d.pop("config_lines"), "incomplete"),
        ("peft", lambda d: d["materials"].update(weights_sha256="0"), "of another checkpoint"),
        ("peft", lambda d: d.pop("materials"), "of another checkpoint or other rows"),
        ("peft", lambda d: d["machine"].update(memory_bytes=1), "peft is of another machine"),
        ("peft", lambda d: d.pop("machine"), "evidence on peft: incomplete"),
        ("mlx-lm", lambda d: d.pop("probe"), "needs 'probe'"),
    ],
)
def test_evidence_that_does_not_count_fails(
    project: Path, name: str, how: Change, reason: str
) -> None:
    """Other versions, a strange date, a lost parity or a missing figure are never a pass."""
    change(evidence.path(project, name), how)
    found = judged(project, TODAY)
    assert found.status is Status.FAIL
    assert reason in found.reason
    assert found.remedy


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_evidence_that_cannot_be_read_fails(project: Path, damage: str) -> None:
    """Absence and damage are failures with the command that measures."""
    file = evidence.path(project, "peft")
    file.write_text(damage) if damage else file.unlink()
    for found in (
        judged(project, TODAY),
        evaluation_evidence.judge_selection(evaluation_evidence.gather(project), "MLX-LM"),
    ):
        assert found.status is Status.FAIL
        assert evidence.REFRESH in found.remedy or "unreadable" in found.reason


def test_a_number_without_a_source_fails(project: Path) -> None:
    """A new claim in the prose needs a fact beside its source, in that very line."""
    written = project / evaluation.WRITTEN
    text = written.read_text()
    written.write_text(text.replace("## Trade-offs\n", "## Trade-offs\n\nIt saves 73 % [13].\n"))
    evaluation.render(project)
    found = judged(project, TODAY)
    assert found.status is Status.FAIL
    assert "no cited source holds 73" in found.reason
    # 6.70 is held by source 13 alone: cited from another one it is not held.
    written.write_text(text.replace("budget [13], and", "budget [12], and"))
    assert evaluation.uncited(project) == ("6.70",)


def test_a_figure_that_does_not_exist_is_an_error(project: Path) -> None:
    """A misspelt placeholder is not left in the text."""
    written = project / evaluation.WRITTEN
    written.write_text(written.read_text() + "\n{{ mlx-lm.speeed }}\n")
    with pytest.raises(ResultError, match=r"no figure 'mlx-lm\.speeed'"):
        evaluation.expected(project)


@pytest.mark.parametrize("content", ["{}", '{"facts": [{"says": "1"}]}'])
def test_a_fact_needs_a_source_and_a_date(project: Path, content: str) -> None:
    """What cannot be traced holds no number."""
    (project / evaluation.CITED).write_text(content)
    with pytest.raises(ResultError, match=r"cited\.json"):
        evaluation.uncited(project)


def test_the_selection_is_computed_from_the_weights(project: Path) -> None:
    """With speed alone the scores give another framework, and the stated one fails."""
    assert (
        evaluation_evidence.judge_selection(evaluation_evidence.gather(project), "MLX-LM").status
        is Status.PASS
    )
    assert (
        evaluation_evidence.judge_selection(evaluation_evidence.gather(project), "axolotl").status
        is Status.FAIL
    )
    assert (
        evaluation_evidence.judge_selection(evaluation_evidence.gather(project), "").status
        is Status.FAIL
    )
    weights = "memory = 0\nease = 0\nqlora = 0\nm1-max = 0\n"
    (project / "pyproject.toml").write_text(f"[tool.mlx-preflight.selection]\n{weights}")
    found = evaluation_evidence.judge_selection(evaluation_evidence.gather(project), "MLX-LM")
    assert found.status is Status.FAIL
    # Which of the others is faster changes from one measurement to the next.
    assert "MLX-LM is selected, the scores give" in found.reason
    assert "the scores give MLX-LM" not in found.reason


def records(state: Path) -> None:
    """Write finished measurements of every framework, with the shipped evidence's figures."""
    for name in framework.names():
        figures = json.loads(evidence.path(ROOT, name).read_text())
        inputs = measure.digest(framework.find(name), measure.BenchOptions(Path(), Path()))
        machine = figures.pop("machine")
        item = record.FrameworkRecord(
            name, Status.PASS, "x", inputs, figures["date"], machine, figures
        )
        record.write(state, item)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "axolotl was not measured"),
        (lambda path: change(path, lambda d: d.update(status="ERROR")), "ended in ERROR"),
        (lambda path: change(path, lambda d: d.update(inputs="0")), "other inputs"),
        (
            lambda path: change(path, lambda d: d["figures"]["install"].update(install_s=None)),
            "a venv that the comparison did not install",
        ),
        (
            lambda path: change(
                path, lambda d: d["figures"]["install"]["packages"].update(axolotl="0.18.0")
            ),
            "axolotl 0.18.0, asked for is axolotl==0.19.0",
        ),
        (lambda path: change(path, lambda d: d["figures"].pop("install")), "incomplete"),
        (
            lambda path: change(path, lambda d: d["machine"].update(cpu_count=64)),
            "axolotl is of another machine .*cpu_count 64",
        ),
    ],
)
def test_nothing_is_rewritten_from_a_part_of_the_comparison(
    project: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """One framework missing, failed or stale: no evidence and no document changes."""
    state = project / ".preflight"
    records(state)
    spoil(record.path(state, "axolotl"))
    folder = project / "docs" / "training"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(BlockedError, match=reason) as raised:
        evaluation.record(project, state)
    assert "compare" in raised.value.hint
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_figures_that_give_no_document_do_not_replace_the_evidence(project: Path) -> None:
    """A record that lacks a figure is found before the first file is written."""
    state = project / ".preflight"
    records(state)
    change(record.path(state, "peft"), lambda d: d["figures"].pop("config_lines"))
    before = evidence.path(project, "mlx-lm").stat().st_mtime_ns
    with pytest.raises(ResultError, match="incomplete"):
        evaluation.record(project, state)
    assert evidence.path(project, "mlx-lm").stat().st_mtime_ns == before


def test_a_finished_comparison_becomes_evidence(project: Path) -> None:
    """All frameworks measured: evidence and document are written and agree."""
    state = project / ".preflight"
    records(state)
    for name in framework.names():
        evidence.path(project, name).unlink()
    evaluation.record(project, state)
    assert judged(project, TODAY).status is Status.PASS
    text = evidence.path(project, "axolotl").read_text()
    assert "/home" not in text
    assert '"release"' not in text


def test_the_standing_of_a_comparison_is_shown(project: Path) -> None:
    """Finished, missing, stale, failed and damaged each have their word and the exit code."""
    state = project / ".preflight"
    runner = CliRunner()
    done = runner.invoke(app, ["comparison", "--project", str(project)])
    assert (done.exit_code, done.output.count("MISSING")) == (3, 3)
    records(state)
    done = runner.invoke(app, ["comparison", "--project", str(project)])
    assert done.exit_code == 0, done.output
    assert "next: mlx-preflight evaluation" in done.output
    change(record.path(state, "mlx-lm"), lambda d: d.update(inputs="0"))
    change(record.path(state, "axolotl"), lambda d: d.update(status="ERROR", reason="no index"))
    record.path(state, "peft").write_text("{")
    done = runner.invoke(app, ["comparison", "--json", "--project", str(project)])
    rows = json.loads(done.output)
    assert [row["status"] for row in rows] == ["STALE", "ERROR", "ERROR"]
    assert rows[1]["reason"] == "no index"
    assert done.exit_code == 3


def test_the_evaluation_is_written_checked_and_refused_from_the_command_line(
    project: Path,
) -> None:
    """Without a comparison nothing is written; with one it is; an edit is found by --check."""
    where = ["--project", str(project)]
    runner = CliRunner()
    refused = runner.invoke(app, ["evaluation", *where])
    assert isinstance(refused.exception, BlockedError)
    records(project / ".preflight")
    assert runner.invoke(app, ["evaluation", *where]).exit_code == 0
    assert runner.invoke(app, ["evaluation", "--check", *where]).exit_code == 0
    path = project / training_documents.FOLDER / evaluation.NAME
    path.write_text(path.read_text().replace("GB", "MB", 1))
    done = runner.invoke(app, ["evaluation", "--check", "--json", *where])
    assert (done.exit_code, json.loads(done.output)["status"]) == (1, "FAIL")
    assert runner.invoke(app, ["evaluation", "--render", *where]).exit_code == 0
