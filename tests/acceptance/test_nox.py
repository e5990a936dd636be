"""Nox on a copy of a small sample project: the pipeline from plan to report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.adopt.baselines import HARNESS
from mlx_preflight.core.file_lock import ProjectLock

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "noxfile.py": f'''"""Run the plan on this project."""

import sys
from pathlib import Path

SOURCE = {json.dumps(str(ROOT / "src"))}
sys.path.insert(0, SOURCE)

from mlx_preflight import sessions  # noqa: E402

sessions.define(Path(__file__).resolve().parent)
''',
    "pyproject.toml": """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "sample"
version = "1.0"
requires-python = ">=3.11"
dependencies = []

[project.optional-dependencies]
tests = ["pytest>=8.4,<10"]

[tool.hatch.build.targets.wheel]
packages = ["src/sample"]

[tool.ruff.lint]
select = ["E", "F"]

[tool.mlx-preflight]
tests-min = 1
""",
    "src/sample/__init__.py": '''"""Add numbers."""


def add(left: int, right: int) -> int:
    """Return the sum."""
    return left + right
''',
    "tests/test_add.py": '''"""Test the sum."""

from sample import add


def test_add() -> None:
    """One and two are three."""
    assert add(1, 2) == 3
''',
    "tests/acceptance/test_whole.py": '''"""Test the package as installed."""

import sample


def test_whole() -> None:
    """It adds."""
    assert sample.add(2, 2) == 4
''',
}


def make(folder: Path) -> Path:
    """Write the sample project and return its folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def environment() -> dict[str, str]:
    """Return this process's environment without what an outer nox put there."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("NOX_", "PREFLIGHT_", "COVERAGE_", "VIRTUAL_ENV"))
    }


def nox(project: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run nox in a project and return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=project,
        env={**environment(), **extra},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def report(project: Path) -> dict[str, Any]:
    """Return the project's report."""
    document: dict[str, Any] = json.loads((project / ".preflight" / "report.json").read_text())
    return document


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one sample project whose venvs all tests of this module share."""
    return make(tmp_path_factory.mktemp("sample"))


def statuses(project: Path) -> dict[str, str]:
    """Return status by check id."""
    return {row["id"]: row["status"] for row in report(project)["rows"]}


def test_every_session_of_the_plan_is_a_nox_session(project: Path) -> None:
    """The register and `nox --list --json` name the same sessions, bare nox only the plan."""
    from mlx_preflight.plan import register, spec

    listed = json.loads(nox(project, "--list", "--json", "-t", "gates").stdout)
    assert [row["session"] for row in listed] == [
        item.id for item in register.SESSIONS if item.tag == "gates"
    ]
    text = nox(project, "--list").stdout
    for name in [item.id for item in register.SESSIONS] + [*spec.GROUPS, "summary", "merge"]:
        assert name in text
    assert "* preflight" in text


@pytest.mark.slow
def test_gates_run_all_and_write_the_report_after_a_failure(project: Path) -> None:
    """One unformatted file turns gate 1 red, the other gates still run, nox exits non-zero."""
    bad = project / "src" / "sample" / "ugly.py"
    bad.write_text('"""Ugly."""\n\nx = {  "a":1 }\n')
    try:
        done = nox(project, "-s", "gates")
    finally:
        bad.unlink()
    seen = statuses(project)
    assert done.returncode != 0, done.stdout + done.stderr
    assert seen["GATE1"] == "FAIL"
    assert [seen[f"GATE{n}"] for n in (2, 3, 4, 5, 7)] == ["PASS"] * 5, report(project)["rows"]
    # ugly.py is never imported and still counts: 3 of 4 statements are covered.
    assert seen["GATE6"] == "FAIL"
    assert "GATE1" in (project / ".preflight" / "report.md").read_text()
    assert (project / ".preflight" / "junit.xml").is_file()
    assert "gate1-format" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_results_of_jobs_are_merged_as_ci_does(project: Path, tmp_path: Path) -> None:
    """The commands of the workflow: a result of one job, judged elsewhere by the planned list."""
    from mlx_preflight.plan import register

    run = {"PREFLIGHT_RUN_ID": "ci-1-1"}
    assert nox(project, "-s", "gate1-format", **run).returncode == 0
    job = tmp_path / "jobs" / "result-linux-gates"
    job.mkdir(parents=True)
    shutil.copy(project / ".preflight" / "results" / "gate1-format.json", job)
    planned = tmp_path / "planned.json"
    planned.write_text(json.dumps([item.id for item in register.sessions("gates")]))
    arguments = ("-s", "merge", "--", str(job.parent), "--planned", str(planned))
    done = nox(project, *arguments, **run)
    assert done.returncode != 0
    seen = statuses(project)
    assert seen["GATE1"] == "PASS"
    assert {seen[f"GATE{n}"] for n in range(2, 9)} == {"ERROR"}
    shown = subprocess.run(
        [project / HARNESS, "-m", "mlx_preflight", "report", "--format", "summary"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 3
    assert shown.stdout.startswith("# Preflight: needs\\_adapt")


@pytest.mark.slow
def test_a_gate_alone_is_judged_and_summed_up(project: Path) -> None:
    """`nox -s gate1-format` passes alone; coverage alone measures for itself."""
    done = nox(project, "-s", "gate1-format", "gate6-coverage")
    assert done.returncode == 0, done.stdout + done.stderr
    results = project / ".preflight" / "results"
    assert json.loads((results / "gate6-coverage.json").read_text())["status"] == "PASS"


@pytest.mark.slow
def test_the_summary_of_a_partial_run_names_what_is_missing(project: Path) -> None:
    """Running one gate and then the summary in one run never reads as a passed plan."""
    done = nox(project, "-s", "gate1-format", "summary")
    assert done.returncode != 0
    assert statuses(project)["GATE1"] == "PASS"
    assert statuses(project)["GATE2"] == "ERROR"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "embeded"), "did you mean 'embedded'"),
        (("--profil", "embedded"), "did you mean '--profile'"),
        (("--budget-gb", "0"), "above 0"),
    ],
)
def test_wrong_arguments_are_refused_with_a_suggestion(
    project: Path, arguments: tuple[str, str], said: str
) -> None:
    """A misspelt option or profile ends the session with a suggestion, not with a default."""
    done = nox(project, "-s", "gates", "--", *arguments)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_a_failed_installation_is_an_error_row(tmp_path: Path) -> None:
    """A gate whose venv cannot be installed leaves an ERROR result, not an absence."""
    project = make(tmp_path)
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace("pytest>=8.4,<10", "no-such-package-x>=1,<2"))
    done = nox(project, "-s", "gate4-unit", "summary")
    assert done.returncode != 0
    row = next(row for row in report(project)["rows"] if row["id"] == "GATE4")
    assert row["status"] == "ERROR"
    assert "installation failed" in row["reason"]


@pytest.mark.parametrize("group", ["gates", "e2e", "selftest"])
def test_bare_nox_runs_the_default_group(tmp_path: Path, group: str) -> None:
    """Also a group that is one session: nox that selects nothing exits 0."""
    project = make(tmp_path)
    table = project / "pyproject.toml"
    table.write_text(f'{table.read_text()}default-group = "{group}"\n')
    listed = json.loads(nox(project, "--list", "--json").stdout)
    assert [row["session"] for row in listed] == [group]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tests = ["pytest>=8.4,<10"]', "", "optional-dependencies: expected a table"),
        ("tests-min = 1", 'off = { gate9 = "why" }', "unknown session 'gate9'"),
    ],
)
def test_an_odd_pyproject_is_one_message(tmp_path: Path, old: str, new: str, said: str) -> None:
    """What cannot be read ends a session with its reason, without a traceback."""
    project = make(tmp_path)
    table = project / "pyproject.toml"
    text = table.read_text().replace(old, new)
    if not new:
        text = text.replace("[project.optional-dependencies]", "")
        text = text.replace("dependencies = []", "dependencies = []\noptional-dependencies = 3")
    table.write_text(text)
    done = nox(project, "-s", "gate4-unit")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def all_off(folder: Path) -> Path:
    """Return a sample project whose gates are all off: a run of them begins and ends at once."""
    from mlx_preflight.plan import register

    project = make(folder)
    off = "".join(f'{item.id} = "not here"\n' for item in register.sessions("gates"))
    with (project / "pyproject.toml").open("a") as table:
        table.write(f"\n[tool.mlx-preflight.off]\n{off}")
    (project / ".preflight").mkdir()
    (project / ".preflight" / "report.json").write_text("{}")
    return project


def test_a_run_that_never_ends_leaves_no_older_verdict(tmp_path: Path) -> None:
    """What an earlier run reported is gone once another one began."""
    project = all_off(tmp_path)
    assert nox(project, "-s", "gates").returncode != 0
    assert (project / ".preflight" / "run.json").is_file()
    assert not (project / ".preflight" / "report.json").exists()


def test_a_second_run_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    """Two runs at a time would judge each other's results."""
    project = all_off(tmp_path)
    claim = ProjectLock.try_acquire(project / ".preflight" / "run.lock")
    assert claim is not None
    done = nox(project, "-s", "gates")
    claim.release()
    assert done.returncode != 0
    assert "already in progress in this project; wait until it ends" in done.stdout + done.stderr
    assert (project / ".preflight" / "report.json").is_file()
    assert not (project / ".preflight" / "run.json").exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A group that cannot begin says why, without a traceback."""
    project = make(tmp_path)
    (project / ".preflight").write_text("in the way")
    done = nox(project, "-s", "gates")
    assert done.returncode != 0
    assert "cannot write" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [("-j", "2"), ("--no-dependencies",)], ids=["parallel", "as CI"])
def test_a_session_that_is_a_group_is_summed_up_however_it_is_started(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    """`nox -s e2e` judges its own run, where nox refuses to add sessions, too."""
    project = make(tmp_path)
    table = project / "pyproject.toml"
    wanted = table.read_text().replace("dependencies = []", 'dependencies = ["no-such-package-x"]')
    table.write_text(wanted)
    done = nox(project, *how, "-s", "e2e")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    seen = report(project)
    assert (seen["group"], seen["status"]) == ("e2e", "ERROR")
    assert all("installation failed" in row["reason"] for row in seen["rows"])


def waiting(project: Path) -> Path:
    """Give a project a test that waits; return the file in which it writes its process id."""
    marker = project / "pid"
    (project / "tests" / "test_add.py").write_text(
        '"""Wait."""\n\nimport os\nimport time\nfrom pathlib import Path\n\n\n'
        'def test_wait() -> None:\n    """It waits."""\n'
        f"    Path({str(marker)!r}).write_text(str(os.getpid()))\n    time.sleep(120)\n"
    )
    return marker


def begin(project: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start Python in a session of its own, so that a signal reaches it and nothing else."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=project,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def until_it_waits(child: subprocess.Popen[bytes], marker: Path) -> None:
    """Return once the test waits."""
    deadline = time.monotonic() + 240
    while not (marker.exists() and marker.read_text()):
        assert child.poll() is None, "it ended before its test ran"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_for_nox_alone_ends_everything_that_it_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A CI runner signals one process, and the system may kill it; nothing lives on without it."""
    from mlx_preflight.plan import register

    project = make(tmp_path)
    marker = waiting(project)
    others = [item.id for item in register.sessions("gates") if item.id != "gate4-unit"]
    with (project / "pyproject.toml").open("a") as table:
        table.write("[tool.mlx-preflight.off]\n")
        table.write("".join(f'{name} = "not in this test"\n' for name in others))
    child = begin(project, "-m", "nox", "-s", "gates")
    until_it_waits(child, marker)
    os.kill(child.pid, number)
    assert child.wait(timeout=60) != 0
    deadline = time.monotonic() + 30
    while running(int(marker.read_text())):
        assert time.monotonic() < deadline, "the test lives on"
        time.sleep(0.5)


def test_ctrl_c_kills_the_children_and_keeps_results(tmp_path: Path) -> None:
    """SIGINT to the process group ends a check with 130, no child left, old results kept."""
    project = make(tmp_path)
    marker = waiting(project)
    kept = project / ".preflight" / "results" / "kept.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    child = begin(project, "-m", "mlx_preflight", "check", "gate4-unit")
    until_it_waits(child, marker)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(timeout=30) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)
    assert kept.read_text() == "{}"


@pytest.mark.slow
def test_uv_or_not_the_gate_runs(tmp_path: Path) -> None:
    """Without uv on the path the sessions fall back to virtualenv and pip."""
    project = make(tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("git", "sh", "env"):
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    done = nox(project, "-db", "virtualenv", "-s", "gate1-format", PATH=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "dropped", "ran"),
    [
        (("-s", "gate1-format", "-s", "gate2-lint"), "gate1-format", "gate2-lint"),
        (("-t", "no-such-tag", "-s", "gate1-format"), "gate1-format", ""),
    ],
    ids=["a repeated -s overwrites the first", "-t makes nox ignore -s"],
)
def test_what_nox_drops_in_silence_is_missed(
    project: Path, selection: tuple[str, ...], dropped: str, ran: str
) -> None:
    """Nox runs less than it was asked for; the summary of that run names the rest."""
    run = {"PREFLIGHT_RUN_ID": f"trap-{len(selection)}-{ran}"}
    nox(project, *selection, **run)
    results = project / ".preflight" / "results"
    written = {path.stem for path in results.glob("gate*.json") if run_of(path) in run.values()}
    assert written == ({ran} if ran else set())
    done = nox(project, "-s", "summary", **run)
    assert done.returncode != 0
    row = next(row for row in report(project)["rows"] if row["session"] == dropped)
    assert row["status"] in {"ERROR", "BLOCKED"}


def run_of(path: Path) -> str:
    """Return the run id of a result file."""
    return str(json.loads(path.read_text())["run_id"])


@pytest.mark.slow
def test_a_session_that_skips_itself_is_no_pass(tmp_path: Path) -> None:
    """`session.skip()` ends with success for nox; the group that planned it fails."""
    project = make(tmp_path)
    noxfile = project / "noxfile.py"
    noxfile.write_text(
        noxfile.read_text() + "\nimport nox\n\n\n@nox.session(name='gate1-format', default=False)\n"
        "def skipped(session):\n    session.skip('not today')\n"
    )
    table = project / "pyproject.toml"
    names = ("2-lint", "3-types", "4-unit", "5-integration", "6-coverage", "7-build", "8-audit")
    off = "".join(f'gate{name} = "only one is tried"\n' for name in names)
    table.write_text(f"{table.read_text()}\n[tool.mlx-preflight.off]\n{off}")
    assert nox(project, "-s", "gate1-format").returncode == 0
    done = nox(project, "-s", "gates")
    assert done.returncode != 0
    assert statuses(project)["GATE1"] == "ERROR"


@pytest.mark.slow
def test_a_reused_venv_does_not_test_yesterdays_code(tmp_path: Path) -> None:
    """A fault that comes after the installation is seen, though the venv is reused."""
    project = make(tmp_path)
    assert nox(project, "-R", "-s", "gate5-integration").returncode == 0
    source = project / "src" / "sample" / "__init__.py"
    source.write_text(source.read_text().replace("left + right", "left - right"))
    done = nox(project, "-R", "-s", "gate5-integration")
    assert done.returncode != 0, done.stdout
    results = project / ".preflight" / "results"
    assert json.loads((results / "gate5-integration.json").read_text())["status"] == "FAIL"
