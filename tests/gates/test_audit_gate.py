"""Gate 8: the real pip-audit against an advisory service on loopback."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import pytest
from gates import osv, sample

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import closure
from mlx_preflight.result import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlx_preflight.result import CheckResult

PACKAGE = "markdown-it-py"
"""A small installed distribution stands for the project: it needs mdurl and nothing else."""


@pytest.fixture
def service() -> Iterator[osv.Service]:
    """Serve advisories that know the control pin and nothing else."""
    server = osv.Service({"jinja2": ["2.10"]})
    yield server
    server.shutdown()
    server.server_close()


def audit(tmp_path: Path, url: str, **settings: Any) -> CheckResult:
    """Audit the runtime closure of `PACKAGE`."""
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = '{PACKAGE}'\n")
    options: dict[str, Any] = {"audit_service": "osv", "audit_url": url, **settings}
    return sample.run(tmp_path, "gate8-audit", **options)


def test_a_clean_closure_passes_with_its_count(tmp_path: Path, service: osv.Service) -> None:
    """Every runtime package was audited, and the count says how many."""
    check = audit(tmp_path, service.url)
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "packages_audited") == len(closure.resolve(PACKAGE)) == 1


@pytest.mark.slow
def test_a_vulnerable_package_fails_with_id_and_fix(tmp_path: Path, service: osv.Service) -> None:
    """The reason names package, version, advisory and fixed version."""
    version = importlib.metadata.version("mdurl")
    service.bad["mdurl"] = [version]
    check = audit(tmp_path, service.url)
    assert check.status is Status.FAIL
    assert f"mdurl {version}: PYSEC-2019-5 (fixed in 99)" in check.reason


@pytest.mark.slow
def test_a_service_that_knows_nothing_is_blocked(tmp_path: Path, service: osv.Service) -> None:
    """A service that finds the known-bad pin clean proves nothing."""
    service.bad.clear()
    check = audit(tmp_path, service.url)
    assert check.status is Status.BLOCKED
    assert "jinja2==2.10" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["500", "garbage"])
def test_a_broken_service_never_passes(tmp_path: Path, service: osv.Service, mode: str) -> None:
    """Server errors and garbage are BLOCKED or ERROR with the last line."""
    service.mode = mode
    assert audit(tmp_path, service.url).status in {Status.BLOCKED, Status.ERROR}


@pytest.mark.slow
def test_a_service_that_is_down_is_blocked(tmp_path: Path) -> None:
    """A refused connection is BLOCKED with the key that names another service."""
    check = audit(tmp_path, "http://127.0.0.1:9/v1/query")
    assert check.status is Status.BLOCKED
    assert "audit-url" in check.remedy


@pytest.mark.slow
def test_a_slow_service_is_an_error_in_time(tmp_path: Path, service: osv.Service) -> None:
    """A service that does not answer ends at the timeout."""
    service.mode = "slow"
    check = audit(tmp_path, service.url, timeout_s=4.0)
    assert check.status is Status.ERROR
    assert "did not end within 4 s" in check.reason


@pytest.mark.slow
def test_an_exemption_is_shown_and_an_unused_one_fails(
    tmp_path: Path, service: osv.Service
) -> None:
    """What is left out is named with its reason; an exemption for nothing is a failure."""
    check = audit(tmp_path, service.url, audit_exempt={"no-such": "why"})
    assert check.status is Status.FAIL
    assert "no-such" in check.reason
    check = audit(tmp_path, service.url, audit_exempt={"mdurl": "looked at by hand"})
    assert check.status is Status.ERROR, check.reason


@pytest.mark.slow
def test_a_project_that_is_not_installed_is_an_error(tmp_path: Path, service: osv.Service) -> None:
    """Without the distribution there is no closure, and an empty one never passes."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'no-such-project'\n")
    check = sample.run(tmp_path, "gate8-audit", audit_service="osv", audit_url=service.url)
    assert check.status is Status.ERROR
    with pytest.raises(ResultError, match="no-such-project"):
        closure.resolve("no-such-project")


@pytest.mark.slow
def test_the_closure_follows_extras_and_markers() -> None:
    """This package's closure holds the model stack and not what only tests need."""
    found = closure.resolve("mlx-preflight")
    assert {"mlx-lm", "mlx", "transformers", "rich"} <= set(found)
    assert not {"pytest", "mlx-preflight"} & set(found)
