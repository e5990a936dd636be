"""The CI workflow is valid, safe, complete, and runs exactly the plan."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_preflight import register

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "preflight.yml"

READS = {
    "gate6-coverage": ("gate4-unit", "gate5-integration"),
    "ac8-dependencies": ("gate8-audit",),
    "regression-tests": ("gate4-unit", "gate5-integration"),
    "regression-gates": ("gate2-lint", "gate3-types", "gate6-coverage"),
    "bench-load": ("ac4-loading",),
    "bench-inference": ("ac5-inference",),
}
"""Session → sessions whose results it reads, so both must run on one machine."""


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    document = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    found: dict[str, Any] = document["jobs"]
    return found


@pytest.fixture(scope="module")
def chunks(jobs: dict[str, Any]) -> dict[str, list[str]]:
    """Return chunk name → session ids, through the very commands of the job `plan`."""
    script = "\n".join(step.get("run", "") for step in jobs["plan"]["steps"])
    command = re.search(r"^python -m nox (--list .*) > listed\.json$", script, re.MULTILINE)
    assert command
    listed = _run(sys.executable, "-m", "nox", *command[1].split())
    assert listed.returncode == 0, listed.stderr
    computed = _matrix(listed.stdout)
    assert computed.returncode == 0, computed.stderr
    return {item["name"]: item["sessions"].split() for item in json.loads(computed.stdout)}


@pytest.mark.slow
def test_the_schema_of_github_workflows_accepts_it() -> None:
    """check-jsonschema finds no unknown or misplaced key."""
    done = _run(_tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    """The security linter finds no injection, excess permission or unpinned action."""
    done = _run(_tool("zizmor"), "--offline", "--no-progress", WORKFLOW)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_validators_refuse_a_planted_fault(tmp_path: Path) -> None:
    """An unknown key and an injected template are found, so the two tests above can fail."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    planted = folder / "planted.yml"
    text = WORKFLOW.read_text(encoding="utf-8")
    planted.write_text(text.replace("fail-fast:", "fail-fsat:", 1), encoding="utf-8")
    schema = ("--builtin-schema", "vendor.github-workflows")
    assert _run(_tool("check-jsonschema"), *schema, planted).returncode != 0
    planted.write_text(text.replace("${SESSIONS}", "${{ github.head_ref }}"), encoding="utf-8")
    assert _run(_tool("zizmor"), "--offline", "--no-progress", planted).returncode != 0


def test_every_needed_job_exists(jobs: dict[str, Any]) -> None:
    """No job waits for a job that is not there."""
    for name, job in jobs.items():
        assert set(_needs(job)) <= set(jobs) - {name}


def test_the_verdict_waits_for_every_job_and_always_runs(jobs: dict[str, Any]) -> None:
    """A failed, cancelled or skipped job cannot keep the verdict from being spoken."""
    verdict = jobs["verdict"]
    assert set(_needs(verdict)) == set(jobs) - {"verdict"}
    assert verdict["if"] == "always()"


def test_the_verdict_judges_every_machine(jobs: dict[str, Any]) -> None:
    """Each operating system that measures has a verdict of its own."""
    measured = jobs["gate"]["strategy"]["matrix"]["os"]
    assert jobs["verdict"]["strategy"]["matrix"]["os"] == measured
    assert any(name.startswith("macos-") for name in measured)


def test_every_action_is_pinned_by_commit(jobs: dict[str, Any]) -> None:
    """An action is named by its 40-digit commit, with the version as a comment."""
    used = [step["uses"] for step in _steps(jobs) if "uses" in step]
    assert used
    for name in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name)
    lines = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert all(re.search(r"# v\d+\.\d+\.\d+$", line) for line in lines)


def test_it_may_only_read(jobs: dict[str, Any]) -> None:
    """The token reads contents, no job widens that, and no checkout keeps it."""
    document = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert document["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in jobs.values())
    checkouts = [step for step in _steps(jobs) if "actions/checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_results_are_kept_whatever_happened(jobs: dict[str, Any]) -> None:
    """Uploads run after failures, see dot folders, and fail when there is nothing."""
    uploads = [step for step in _steps(jobs) if "upload-artifact" in step.get("uses", "")]
    assert len(uploads) == 2
    for step in uploads:
        assert step["if"] == "always()"
        assert step["with"]["if-no-files-found"] == "error"
        assert step["with"]["include-hidden-files"] is True


def test_commands_hold_no_template(jobs: dict[str, Any]) -> None:
    """Expressions reach a shell through its environment only."""
    assert not any("${{" in step.get("run", "") for step in _steps(jobs))


def test_every_job_ends(jobs: dict[str, Any]) -> None:
    """A hanging job is stopped long before GitHub's six hours."""
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())


def test_one_run_id_joins_the_jobs(jobs: dict[str, Any]) -> None:
    """Measuring and judging use the run id that the plan made."""
    for name in ("gate", "verdict"):
        assert jobs[name]["env"]["PREFLIGHT_RUN_ID"] == "${{ needs.plan.outputs.run-id }}"


def test_the_chunks_are_the_register(chunks: dict[str, list[str]]) -> None:
    """Every session of the plan is run by exactly one chunk, and nothing else is."""
    planned = [session for members in chunks.values() for session in members]
    assert sorted(planned) == sorted(session.id for session in register.sessions())


def test_what_reads_a_result_runs_where_it_was_made(chunks: dict[str, list[str]]) -> None:
    """A session shares its chunk with every session whose results it reads."""
    where = {session: name for name, members in chunks.items() for session in members}
    for reader, sources in READS.items():
        assert {where[source] for source in sources} == {where[reader]}


@pytest.mark.parametrize(
    "listed",
    ["", "[]", "{}", '[{"session": "x", "tags": ["new"]}]'],
    ids=["nothing", "no session", "no list", "a tag that no chunk runs"],
)
def test_no_matrix_without_the_plan(listed: str) -> None:
    """A listing that is empty or strange fails the job instead of running nothing."""
    assert _matrix(listed).returncode == 1


def _needs(job: dict[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def _steps(jobs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in jobs.values():
        yield from job["steps"]


def _tool(name: str) -> str:
    folder = str(Path(sys.executable).parent)
    found = shutil.which(name, path=folder) or shutil.which(name)
    assert found, f"{name} is not installed; it is in the `tests` extra"
    return found


def _matrix(listed: str) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, ROOT / "scripts" / "ci_matrix.py", given=listed)


def _run(*argv: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(item) for item in argv],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
