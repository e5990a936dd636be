"""Gate 8: ways in which pip-audit exits 0 and has audited nothing."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Status
from mlx_preflight.gates import audit, tool
from mlx_preflight.gates.advisories import closure, pip_audit_run
from mlx_preflight.gates.advisories.closure import Closure
from mlx_preflight.gates.advisories.vulnerability import rate_answer
from mlx_preflight.plan.settings import ProjectSettings
from tests.gates import osv, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlx_preflight.core.result import CheckResult

pytestmark = pytest.mark.slow

CONTROL = {"jinja2": ["2.10"]}


@pytest.fixture
def service() -> Iterator[osv.Service]:
    """Serve advisories that know the control pin and nothing else."""
    server = osv.Service(dict(CONTROL))
    yield server
    server.shutdown()
    server.server_close()


def distribution(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *needs: str
) -> dict[str, str]:
    """Install the metadata of a distribution, and return its runtime closure."""
    info = folder / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "Provides-Extra: more"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {n}" for n in needs)]))
    there = sample.installed_here(monkeypatch, folder / "site")
    (folder / "pyproject.toml").write_text(f"[project]\nname = '{name}'\n")
    return closure.resolve(name, there).versions


def run(project: Path, service: osv.Service, **settings: Any) -> CheckResult:
    """Run the gate against the service."""
    options = {"audit_service": "osv", "audit_url": service.url, **settings}
    return sample.run(project, "gate8-audit", **options)


@pytest.mark.parametrize(
    "fault", [{"schema_version": "2.0"}, {"affected": None}], ids=["schema", "affected"]
)
def test_an_advisory_that_pip_audit_drops_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    service: osv.Service,
    fault: dict[str, object],
) -> None:
    """Records that it does not understand are left out with exit 0, so they are no all-clear."""
    distribution(tmp_path, monkeypatch, "sample-one", "mdurl")
    service.bad["mdurl"] = [importlib.metadata.version("mdurl")]
    real = osv.advisory
    monkeypatch.setattr(
        osv,
        "advisory",
        lambda name, version: real(name, version) | (fault if name == "mdurl" else {}),
    )
    check = run(tmp_path, service)
    assert check.status is Status.ERROR, check.reason
    assert "left advisories out" in check.reason


def test_a_project_without_dependencies_never_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: osv.Service
) -> None:
    """Nothing to audit is ERROR: there is no number to report."""
    assert distribution(tmp_path, monkeypatch, "sample-none") == {}
    check = run(tmp_path, service)
    assert check.status is Status.ERROR
    assert "0 runtime packages" in check.reason


@pytest.mark.parametrize(
    ("table", "needs", "status"),
    [
        ("dependencies = []", (), Status.PASS),
        ("dynamic = ['dependencies']", (), Status.ERROR),
        # What is installed needs more than what is declared now.
        ("dependencies = []", ("mdurl",), Status.PASS),
    ],
)
def test_a_project_that_declares_no_dependency_is_clean(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    service: osv.Service,
    table: str,
    needs: tuple[str, ...],
    status: Status,
) -> None:
    """By its own word, with no package to ask about; what is there is asked about anyway."""
    distribution(tmp_path, monkeypatch, "sample-none", *needs)
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'sample-none'\n{table}\n")
    check = run(tmp_path, service)
    assert check.status is status, check.reason
    if status is Status.PASS:
        assert sample.value(check, "packages_audited") == len(needs)


def test_an_exempt_package_is_left_out_and_shown_beside_the_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: osv.Service
) -> None:
    """The exemption's name and reason stand in the reason and in the measurements."""
    distribution(tmp_path, monkeypatch, "sample-two", "mdurl", "packaging")
    service.bad["mdurl"] = [importlib.metadata.version("mdurl")]
    check = run(tmp_path, service, audit_exempt={"MDurl": "vendored and patched"})
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "packages_audited") == 1
    assert sample.value(check, "packages_exempt") == "mdurl: vendored and patched"
    assert "vendored and patched" in check.reason


def test_a_server_error_is_blocked_with_the_answer(tmp_path: Path, service: osv.Service) -> None:
    """The reason holds the HTTP status and the remedy names the keys of the table."""
    service.mode = "500"
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'markdown-it-py'\n")
    check = run(tmp_path, service)
    assert check.status is Status.BLOCKED
    assert "500 Server Error" in check.reason
    assert "audit-url" in check.remedy


def test_the_closure_follows_the_extras_of_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extra that a requirement names is followed; one that nobody names is not."""
    distribution(tmp_path / "a", monkeypatch, "sample-leaf", "packaging; extra == 'more'", "mdurl")
    found = distribution(
        tmp_path / "b", monkeypatch, "sample-root", "sample-leaf[more]", "rich; extra == 'more'"
    )
    assert set(found) == {"sample-leaf", "packaging", "mdurl"}


SKIPPED = {
    "name": "mdurl",
    "skip_reason": "Dependency not found on PyPI and could not be audited: mdurl (0.1.2)",
}
CLEAN = {"name": "packaging", "version": "26.0", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": f"PYSEC-{n}", "fix_versions": [], "aliases": []} for n in range(5)],
}


def judged(*items: dict[str, Any], control: tuple[dict[str, Any], ...] = (BAD,)) -> Any:
    """Judge answers in the words of pip-audit 2.10.1; its PyPI service cannot be run offline."""

    def ran(answer: tuple[dict[str, Any], ...]) -> tool.ToolRun:
        text = json.dumps({"dependencies": answer, "fixes": []})
        return tool.ToolRun("pip-audit", "2.10.1", ChildRun((), 0, text, "", 0.1, truncated=False))

    wanted = {item["name"]: item.get("version", "0.1.2") for item in items}
    runs = (ran(items), ran(control))
    resolved = Closure("a test", wanted, {})
    answer, known = map(pip_audit_run.dependencies, runs)
    # Nothing is looked up: an advisory whose records cannot be read counts as high.
    found = rate_answer(list(items), "http://127.0.0.1:9/v1/query", resolved, ())
    now = dt.datetime.now(dt.UTC)
    return audit.gate8(
        audit.AuditRun(resolved, ProjectSettings(), runs[0], answer, known, now, found)
    )


@pytest.mark.parametrize("items", [(SKIPPED,), (SKIPPED, CLEAN)])
def test_a_skipped_package_is_blocked(items: tuple[dict[str, Any], ...]) -> None:
    """The default service skips what it does not know and exits 0; the gate names and counts it."""
    outcome = judged(*items)
    assert outcome.status is Status.BLOCKED
    assert f"1 of {len(items)} packages were not audited: mdurl" in outcome.reason
    assert "not found on PyPI" in outcome.reason


def test_a_control_that_was_skipped_proves_nothing() -> None:
    """All clean is BLOCKED when the known-bad pin was not found bad."""
    outcome = judged(CLEAN, control=({"name": "jinja2", "skip_reason": "not found"},))
    assert outcome.status is Status.BLOCKED
    assert "jinja2==2.10" in outcome.reason


def test_a_vulnerability_counts_whatever_else_is_wrong() -> None:
    """A found vulnerability is FAIL also beside skipped packages and a silent control."""
    outcome = judged(BAD, SKIPPED, control=(CLEAN,))
    assert outcome.status is Status.FAIL
    assert "jinja2 2.10: PYSEC-0, high (unknown: PYSEC-0 could not be read)" in outcome.reason
    assert "fixed in no version" in outcome.reason
