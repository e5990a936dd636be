"""The CI workflows are valid, safe, complete, and this project's runs exactly the plan."""

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

from mlx_preflight.adopt import proposal
from mlx_preflight.core import workspace
from mlx_preflight.plan import register
from mlx_preflight.run import merge

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "preflight.yml"

CHECK = ROOT / "scripts" / "check_workflow.py"

NEEDS = "    needs: [plan, gate, tests]\n"

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
    computed = _matrix(_listed(jobs))
    assert computed.returncode == 0, computed.stderr
    return {item["name"]: item["sessions"].split() for item in json.loads(computed.stdout)}


def _listed(jobs: dict[str, Any]) -> str:
    script = "\n".join(step.get("run", "") for step in jobs["plan"]["steps"])
    command = re.search(r"^python -m nox (--list .*) > listed\.json$", script, re.MULTILINE)
    assert command
    listed = _run(sys.executable, "-m", "nox", *command[1].split())
    assert listed.returncode == 0, listed.stderr
    return listed.stdout


@pytest.fixture(params=["this project", "init"])
def workflow(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the file of this project's workflow, and of the one that `init` writes."""
    if request.param == "this project":
        return WORKFLOW
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "preflight.yml").write_text(proposal.WORKFLOW, encoding="utf-8")
    return folder / "preflight.yml"


@pytest.mark.slow
def test_the_schema_of_github_workflows_accepts_it(workflow: Path) -> None:
    """check-jsonschema finds no unknown or misplaced key."""
    done = _run(_tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", workflow)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing(workflow: Path) -> None:
    """The security linter finds no injection, excess permission or unpinned action."""
    done = _run(_tool("zizmor"), "--offline", "--no-progress", workflow)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_nothing_escapes_the_verdict(workflow: Path) -> None:
    """Every needed job exists, and the verdict waits for every other one, come what may."""
    done = _run(sys.executable, CHECK, workflow)
    assert (done.returncode, done.stdout) == (0, "")


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("needs: plan\n", "needs: paln\n", "gate: needs 'paln', which is not another job"),
        ("needs: plan\n", "needs: gate\n", "gate: needs 'gate', which is not another job"),
        ("    needs: [plan, gate, tests]\n    if: always()\n", NEEDS, "lacks `if: always()`"),
        ("if: always()\n    # J", "if: success()\n    # J", "lacks `if: always()`"),
        ("[plan, gate, tests]", "[plan, gate]", "verdict: does not need 'tests'"),
        ("  verdict:\n", "  verdikt:\n", "none is named 'verdict'"),
        ("needs: plan\n", "needs: plan\n    continue-on-error: true\n", "gate: continue-on-error"),
        ("jobs:\n", "jobs: {}\nx:\n", "no jobs"),
        ("  tests:\n", "  other: 3\n  tests:\n", "other: not a job"),
        ("name: preflight\n", "\tname: [\n", "unreadable"),
    ],
)
def test_a_planted_hole_in_the_verdict_is_found(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """A job that does not exist, or that the verdict could miss, fails the check by name."""
    text = WORKFLOW.read_text(encoding="utf-8")
    assert old in text
    planted = tmp_path / "planted.yml"
    planted.write_text(text.replace(old, new, 1), encoding="utf-8")
    done = _run(sys.executable, CHECK, planted)
    assert done.returncode == 1
    assert said in done.stdout


@pytest.mark.slow
def test_checking_no_workflow_is_an_error(tmp_path: Path) -> None:
    """Neither no file nor a missing one passes."""
    assert _run(sys.executable, CHECK).returncode == 1
    assert _run(sys.executable, CHECK, tmp_path / "none.yml").returncode == 1


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
        assert re.fullmatch(r"(actions|github/codeql-action)/[a-z-]+@[0-9a-f]{40}", name)
    lines = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert all(re.search(r"# v\d+\.\d+\.\d+$", line) for line in lines)


def test_it_may_only_read_and_show_findings(jobs: dict[str, Any]) -> None:
    """The token reads contents, only the verdict may show findings, no checkout keeps it."""
    document = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert document["permissions"] == {"contents": "read"}
    wider = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    assert wider == {"verdict": {"contents": "read", "security-events": "write"}}
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


def test_the_verdict_takes_the_planned_list_and_keeps_every_report(jobs: dict[str, Any]) -> None:
    """It judges by the plan job's list, in folders of their own, and keeps what it wrote."""
    steps = jobs["verdict"]["steps"]
    [judging] = [step for step in steps if "nox -s merge" in step.get("run", "")]
    assert judging["env"]["PLANNED"] == "${{ needs.plan.outputs.planned }}"
    [got] = [step["with"] for step in steps if "download-artifact" in step.get("uses", "")]
    assert f"-- {got['path']} " in judging["run"]
    # Merged into one folder, files of one name would overwrite each other unseen.
    assert "merge-multiple" not in got
    [kept] = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
    assert kept.split() == [f".preflight/{name}" for name in sorted(workspace.REPORTS, key=_order)]
    assert all(step.get("if", "").startswith("always()") for step in steps[1:])


def test_both_workflows_write_the_step_summary(jobs: dict[str, Any]) -> None:
    """The capped summary comes from the command, whatever happened before."""
    simple = yaml.safe_load(proposal.WORKFLOW)["jobs"]["preflight"]
    for job in (jobs["verdict"], simple):
        [step] = [item for item in job["steps"] if "report --format summary" in item.get("run", "")]
        assert step["if"] == "always()"
        assert '>> "${GITHUB_STEP_SUMMARY}"' in step["run"]
    [kept] = [item["with"] for item in simple["steps"] if "upload-artifact" in item.get("uses", "")]
    assert kept["path"].split() == [".preflight/report.*", ".preflight/junit.xml"]


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


@pytest.mark.slow
def test_the_chunks_are_the_register(chunks: dict[str, list[str]]) -> None:
    """Every session of the plan is run by exactly one chunk, and nothing else is."""
    planned = [session for members in chunks.values() for session in members]
    assert sorted(planned) == sorted(session.id for session in register.sessions())


@pytest.mark.slow
def test_the_planned_list_is_the_whole_plan(jobs: dict[str, Any]) -> None:
    """What the plan job hands to the verdict is a list that `merge` takes as the whole plan."""
    done = _matrix(_listed(jobs), "--planned")
    assert merge.planned_group(done.stdout) == "preflight"


def test_what_reads_a_result_runs_where_it_was_made(chunks: dict[str, list[str]]) -> None:
    """A session shares its chunk with every session whose results it reads."""
    where = {session: name for name, members in chunks.items() for session in members}
    for reader, sources in READS.items():
        assert {where[source] for source in sources} == {where[reader]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "listed",
    ["", "[]", "{}", '[{"session": "x", "tags": ["new"]}]'],
    ids=["nothing", "no session", "no list", "a tag that no chunk runs"],
)
def test_no_matrix_without_the_plan(listed: str) -> None:
    """A listing that is empty or strange fails the job instead of running nothing."""
    assert _matrix(listed).returncode == 1
    assert _matrix(listed, "--planned").returncode == 1


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("report"), name


def _steps(jobs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in jobs.values():
        yield from job["steps"]


def _tool(name: str) -> str:
    folder = str(Path(sys.executable).parent)
    found = shutil.which(name, path=folder) or shutil.which(name)
    assert found, f"{name} is not installed; it is in the `tests` extra"
    return found


def _matrix(listed: str, *options: str) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, ROOT / "scripts" / "ci_matrix.py", *options, given=listed)


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
