"""The summary picks the run, survives whatever lies in the folder, and writes the reports."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlx_preflight.core import json_file, result
from mlx_preflight.core.errors import NothingRanError, ResultError
from mlx_preflight.core.result import SessionResult
from mlx_preflight.core.workspace import REPORTS
from mlx_preflight.plan import register
from mlx_preflight.report import document
from mlx_preflight.report.write import summarize
from mlx_preflight.run import manifest
from mlx_preflight.run.manifest import Manifest

Maker = Callable[..., dict[str, SessionResult]]


def plan_run(state: Path, run_id: str = "run-1", group: str = "gates") -> None:
    planned = tuple(item.id for item in register.sessions(group))
    manifest.write(state, Manifest(run_id, group, planned, "2026-01-02", "embedded", "embedded"))


def save(state: Path, found: dict[str, SessionResult], run_id: str = "run-1") -> None:
    for item in found.values():
        result.write_result(state / "results", dataclasses.replace(item, run_id=run_id))


def test_a_whole_run_is_judged_and_written(tmp_path: Path, make_run: Maker) -> None:
    """The reports and the return value say the same."""
    plan_run(tmp_path, group="preflight")
    save(tmp_path, make_run())
    verdict, report = summarize(tmp_path, "run-1")
    assert (verdict.state, verdict.exit_code) == ("ready_for_integrator", 0)
    assert json.loads(json.dumps(report)) == document.read(tmp_path / "report.json")
    assert (report["verdict"], report["status"], report["exit_code"]) == (
        "ready_for_integrator",
        "PASS",
        0,
    )
    assert report["model"]["parameters"] == 919_680
    assert report["environment"]["packages"] == {"mlx": "0.32.4"}
    assert report["git"] == {"commit": "c0ffee", "dirty": False}
    assert "ready" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert ET.parse(tmp_path / "junit.xml").getroot().get("tests") == str(len(report["rows"]))


def test_another_runs_results_never_stand_for_a_named_run(tmp_path: Path, make_run: Maker) -> None:
    """A group whose run was replaced by a later one is not judged by that one's results."""
    plan_run(tmp_path, "later")
    save(tmp_path, make_run("gates"), "later")
    assert summarize(tmp_path, "earlier")[1]["run_id"] == "later"
    with pytest.raises(ResultError, match="another run started before this one ended"):
        summarize(tmp_path, "earlier", only=True)
    assert not (tmp_path / "report.json").exists()
    assert summarize(tmp_path, "later", only=True)[0].exit_code == 0


def test_a_missing_result_is_an_error_row(tmp_path: Path, make_run: Maker) -> None:
    """A session that died without a result is not absent from the report."""
    plan_run(tmp_path)
    found = make_run("gates")
    del found["gate4-unit"]
    save(tmp_path, found)
    verdict, report = summarize(tmp_path, "run-1")
    assert verdict.exit_code == 3
    [finding] = report["findings"]
    assert (finding["id"], finding["status"]) == ("GATE4", "ERROR")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"schema": 9}', b'{"schema": 1}'])
def test_a_corrupt_result_is_an_error_row(tmp_path: Path, make_run: Maker, raw: bytes) -> None:
    """Torn, foreign or binary files are an ERROR with the reason, never a crash."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    (tmp_path / "results" / "gate4-unit.json").write_bytes(raw)
    verdict, report = summarize(tmp_path, "run-1")
    assert verdict.exit_code == 3
    assert "the result cannot be used" in report["findings"][0]["reason"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("environment", {"packages": ["mlx"], "memory_bytes": "much", "cpu_count": None}),
        ("git", {"commit": ["x"], "dirty": "maybe"}),
        ("model", {"requested": "embedded", "parameters": "many", "fingerprint": 3}),
        ("duration_s", 1e308),
        ("started", ""),
    ],
)
def test_odd_values_in_a_result_do_not_crash_the_report(
    tmp_path: Path, make_run: Maker, key: str, value: object
) -> None:
    """What the schema leaves open may hold anything."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    for path in (tmp_path / "results").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), key: value}), "utf-8")
    summarize(tmp_path, "run-1")
    assert all((tmp_path / name).is_file() for name in REPORTS)


def test_results_of_other_runs_are_named_and_not_used(tmp_path: Path, make_run: Maker) -> None:
    """A green result of yesterday is stale today, planned or not."""
    save(tmp_path, make_run(), "run-0")
    plan_run(tmp_path)
    found = make_run("gates")
    del found["gate4-unit"]
    save(tmp_path, found)
    verdict, report = summarize(tmp_path, "run-1")
    assert verdict.exit_code == 3
    assert "is of run run-0" in report["findings"][0]["reason"]
    assert "gate4-unit" in report["stale"]
    assert "ac4-loading" in report["stale"]
    assert "gate4-unit" not in report["sessions"]


def test_results_without_a_manifest_are_judged_by_the_whole_plan(
    tmp_path: Path, make_run: Maker
) -> None:
    """A CI that runs sessions one by one is not excused from the rest."""
    save(tmp_path, make_run("gates"))
    verdict, report = summarize(tmp_path, "run-1")
    assert (report["group"], verdict.exit_code) == ("preflight", 3)
    assert len(report["rows"]) == sum(len(item.checks) for item in register.sessions())


def test_a_whole_run_without_a_manifest_is_ready(tmp_path: Path, make_run: Maker) -> None:
    """When every session of the plan left a result, no manifest is needed."""
    save(tmp_path, make_run())
    assert summarize(tmp_path, "run-1")[0].state == "ready_for_integrator"


def test_own_results_come_before_an_older_manifest(tmp_path: Path, make_run: Maker) -> None:
    """Results of the run that is asked about are judged, not the last group's run."""
    plan_run(tmp_path, "run-0")
    save(tmp_path, make_run("gates"))
    assert summarize(tmp_path, "run-1")[1]["run_id"] == "run-1"


def test_a_summary_alone_shows_the_last_run(tmp_path: Path, make_run: Maker) -> None:
    """With a run id that left nothing, the last group's run is judged again."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    verdict, report = summarize(tmp_path, "run-of-the-summary")
    assert (verdict.state, report["run_id"]) == ("partial", "run-1")


def test_a_summary_alone_without_a_manifest_shows_the_newest_result(
    tmp_path: Path, make_run: Maker
) -> None:
    """Sessions that were run one by one are still judged, newest run first."""
    found = make_run("gates")
    save(tmp_path, found, "run-0")
    newer = dataclasses.replace(found["gate2-lint"], started="2026-02-02T00:00:00+00:00")
    save(tmp_path, {newer.id: newer}, "run-9")
    verdict, report = summarize(tmp_path, "asked")
    assert (report["run_id"], verdict.exit_code) == ("run-9", 3)
    assert report["stale"] == sorted(set(found) - {newer.id})


def test_only_unreadable_results_are_no_pass(tmp_path: Path) -> None:
    """Results that nobody can read are errors, not nothing."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "gate1-format.json").write_text("{", encoding="utf-8")
    assert summarize(tmp_path, "run-1")[0].exit_code == 3


def test_a_planned_run_without_results(tmp_path: Path) -> None:
    """A run that died before its first result exits 4 and still has a report."""
    plan_run(tmp_path)
    verdict, report = summarize(tmp_path, "run-1")
    gates = len(register.sessions("gates"))
    assert (verdict.exit_code, report["counts"]["ERROR"]) == (4, gates)


def test_nothing_at_all(tmp_path: Path, make_run: Maker) -> None:
    """Without a run and a result there is an error, and no report of another run stays."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    summarize(tmp_path, "run-1")
    (tmp_path / "run.json").unlink()
    for path in (tmp_path / "results").iterdir():
        path.unlink()
    with pytest.raises(NothingRanError) as caught:
        summarize(tmp_path, "run-1")
    assert caught.value.exit_code == 4
    assert "nox" in caught.value.hint
    assert not any((tmp_path / name).exists() for name in REPORTS)


@pytest.mark.parametrize("planned", [("gate1-format",), (), ("gate1-format", "gone")])
def test_a_manifest_that_is_not_the_plan_is_refused(
    tmp_path: Path, make_run: Maker, planned: tuple[str, ...]
) -> None:
    """A shorter list of sessions cannot pass for the whole plan."""
    save(tmp_path, make_run())
    run = Manifest("run-1", "preflight", planned, "2026-01-02", "embedded", "embedded")
    manifest.write(tmp_path, run)
    with pytest.raises(ResultError, match="are not those of group preflight") as caught:
        summarize(tmp_path, "run-1")
    assert caught.value.hint == "run `nox -s preflight` again"


def test_a_manifest_of_an_unknown_group_is_refused(tmp_path: Path) -> None:
    """A group that the plan lacks is an error with a suggestion."""
    manifest.write(tmp_path, Manifest("run-1", "gate", (), "2026-01-02", "embedded", "embedded"))
    with pytest.raises(ResultError, match="did you mean 'gates'"):
        summarize(tmp_path, "run-1")


def test_the_profile_of_the_manifest_counts(tmp_path: Path, make_run: Maker) -> None:
    """Results of the embedded model do not answer a run for another one."""
    planned = tuple(item.id for item in register.sessions())
    run = Manifest("run-1", "preflight", planned, "2026-01-02", "custom", "./mine")
    manifest.write(tmp_path, run)
    save(tmp_path, make_run())
    verdict, report = summarize(tmp_path, "run-1")
    assert verdict.exit_code == 3
    assert report["holds_for"] == "./mine and no other model; commit c0ffee"
    assert report["model"] == {"requested": "./mine"}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, make_run: Maker) -> None:
    """A report that cannot be written is an error with a hint, never a silent old one."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    (tmp_path / "report.md" / "in the way").mkdir(parents=True)
    with pytest.raises(ResultError, match=r"cannot write .*report\.md") as caught:
        summarize(tmp_path, "run-1")
    assert "writable" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "not a report of schema 1"),
        ({"rows": None}, "rows is missing or damaged"),
        ({"rows": [{}]}, "a row is damaged"),
        ({"exit_code": "0"}, "exit_code is missing or damaged"),
    ],
)
def test_a_damaged_report_is_an_error(
    tmp_path: Path, make_run: Maker, change: dict[str, object], said: str
) -> None:
    """A report that was tampered with or is of another version is not shown."""
    plan_run(tmp_path)
    save(tmp_path, make_run("gates"))
    _, report = summarize(tmp_path, "run-1")
    json_file.write_json(tmp_path / "report.json", {**report, **change})
    with pytest.raises(ResultError, match=said):
        document.read(tmp_path / "report.json")


def test_no_report_is_nothing_ran(tmp_path: Path) -> None:
    """Asking for a report before there is one exits 4."""
    with pytest.raises(NothingRanError):
        document.read(tmp_path / "report.json")


def test_judging_needs_no_terminal_library() -> None:
    """The verdict and the summary import neither rich nor typer nor mlx."""
    code = (
        "import sys, mlx_preflight.run.verdict, mlx_preflight.run.summary\n"
        "import mlx_preflight.report.document, mlx_preflight.report.junit\n"
        "import mlx_preflight.report.markdown, mlx_preflight.report.sarif\n"
        "import mlx_preflight.run.merge\n"
        "print(sorted({'rich', 'typer', 'mlx', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
