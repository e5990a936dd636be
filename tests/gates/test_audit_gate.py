"""Gate 8: the real pip-audit against an advisory service on loopback."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core import judged_environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Status
from mlx_preflight.gates.advisories import closure, lookup
from mlx_preflight.gates.advisories.severity import rate
from mlx_preflight.plan.settings import Waiver
from tests.gates import osv, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlx_preflight.core.result import CheckResult

HERE = judged_environment.inspect()

PACKAGE = "markdown-it-py"
"""A small installed distribution stands for the project: it needs mdurl and nothing else."""


@pytest.fixture
def service() -> Iterator[osv.Service]:
    """Serve advisories that know the control pin and nothing else."""
    server = osv.Service({"jinja2": ["2.10"]})
    yield server
    server.shutdown()
    server.server_close()


def audit(tmp_path: Path, url: str | None, **settings: Any) -> CheckResult:
    """Audit the runtime closure of `PACKAGE`."""
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = '{PACKAGE}'\n")
    options: dict[str, Any] = {"audit_service": "osv", "audit_url": url, **settings}
    return sample.run(tmp_path, "gate8-audit", **options)


def test_a_clean_closure_passes_with_its_count(tmp_path: Path, service: osv.Service) -> None:
    """Every runtime package was audited, and the count says how many."""
    check = audit(tmp_path, service.url)
    assert check.status is Status.PASS, check.reason
    assert (
        sample.value(check, "packages_audited") == len(closure.resolve(PACKAGE, HERE).versions) == 1
    )


HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"


@pytest.fixture
def vulnerable(service: osv.Service) -> osv.Service:
    """Let the service know an advisory about the one package that is audited."""
    service.bad["mdurl"] = [importlib.metadata.version("mdurl")]
    return service


@pytest.mark.slow
def test_a_high_one_fails_with_all_that_a_reader_needs(
    tmp_path: Path, vulnerable: osv.Service
) -> None:
    """Package, version, id, severity with its source and fixed version are named."""
    vulnerable.aliases = [osv.rated("CVE-2019-5", HIGH)]
    check = audit(tmp_path, vulnerable.url)
    assert check.status is Status.FAIL
    version = importlib.metadata.version("mdurl")
    assert (
        f"mdurl {version}: PYSEC-2019-5, high (CVSS:3.1 7.5 in CVE-2019-5), fixed in 99"
    ) in check.reason
    (found,) = check.diagnostics
    assert (found.code, found.level, found.state, found.path) == (
        *("PYSEC-2019-5", "error", "new", "pyproject.toml"),
    )


@pytest.mark.slow
def test_a_low_one_passes_and_is_named(tmp_path: Path, vulnerable: osv.Service) -> None:
    """What lies below the limit is in the reason; a lower limit makes it fail."""
    vulnerable.aliases = [osv.rated("CVE-2019-5", LOW)]
    check = audit(tmp_path, vulnerable.url)
    assert check.status is Status.PASS, check.reason
    assert "1 vulnerabilities below high: mdurl" in check.reason
    assert sample.value(check, "vulnerabilities") == 1
    assert [item.level for item in check.diagnostics] == ["warning"]
    assert audit(tmp_path, vulnerable.url, fail_at="low").status is Status.FAIL


@pytest.mark.slow
def test_what_nobody_rated_counts_as_high(tmp_path: Path, vulnerable: osv.Service) -> None:
    """An advisory without a severity fails at the default limit."""
    check = audit(tmp_path, vulnerable.url)
    assert check.status is Status.FAIL
    assert "high (unknown: nobody rated it)" in check.reason
    assert sample.value(check, "vulnerabilities_unrated") == 1


@pytest.mark.slow
def test_the_words_of_an_alias_of_an_alias_count(tmp_path: Path, vulnerable: osv.Service) -> None:
    """PYSEC names a CVE, the CVE a GHSA, and GitHub's word there is the severity."""
    date = "2024-01-01T00:00:00Z"
    vulnerable.aliases = [
        {"id": "CVE-2019-5", "modified": date, "aliases": ["GHSA-1"]},
        {"id": "GHSA-1", "modified": date, "database_specific": {"severity": "MODERATE"}},
    ]
    check = audit(tmp_path, vulnerable.url)
    assert check.status is Status.PASS, check.reason
    assert "medium (the database's word in GHSA-1)" in check.reason
    waiver = Waiver("GHSA-1", "not reachable", dt.date(9999, 1, 1))
    assert "1 waived" in audit(tmp_path, vulnerable.url, audit_waivers=(waiver,)).reason


@pytest.mark.slow
def test_a_waiver_counts_until_its_day(tmp_path: Path, vulnerable: osv.Service) -> None:
    """A waived advisory passes with its reason; on the waiver's last day it fails again."""
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    waiver = Waiver("PYSEC-2019-5", "only in the tests", tomorrow)
    check = audit(tmp_path, vulnerable.url, audit_waivers=(waiver,))
    assert check.status is Status.PASS, check.reason
    assert "1 waived: PYSEC-2019-5: only in the tests" in check.reason
    assert [item.state for item in check.diagnostics] == ["known"]
    old = dataclasses.replace(waiver, expires=tomorrow - dt.timedelta(days=1))
    assert audit(tmp_path, vulnerable.url, audit_waivers=(old,)).status is Status.FAIL


@pytest.mark.slow
def test_an_expired_and_an_unused_waiver_fail(tmp_path: Path, service: osv.Service) -> None:
    """A clean project with a waiver for nothing, or of the past, is told to remove it."""
    for expires, words in ((dt.date(2020, 1, 1), "expired on 2020-01-01"), (dt.date.max, "unused")):
        waiver = Waiver("PYSEC-2019-5", "why", expires)
        check = audit(tmp_path, service.url, audit_waivers=(waiver,))
        assert check.status is Status.FAIL
        assert words in check.reason


@pytest.mark.slow
def test_a_stale_database_is_never_clean(tmp_path: Path, service: osv.Service) -> None:
    """Over 14 days old: clean is BLOCKED with the date; a vulnerable answer still fails."""
    service.changed = osv.TODAY - dt.timedelta(days=15)
    check = audit(tmp_path, service.url)
    assert check.status is Status.BLOCKED
    assert f"clean as of {service.changed:%Y-%m-%d}, 1 advisories" in check.reason
    assert audit(tmp_path, service.url, max_advisory_age_days=16).status is Status.PASS
    service.bad["mdurl"] = [importlib.metadata.version("mdurl")]
    assert audit(tmp_path, service.url).status is Status.FAIL


@pytest.mark.slow
def test_a_service_without_a_date_needs_a_word_for_it(tmp_path: Path, service: osv.Service) -> None:
    """A service of unknown age proves nothing clean until the project says why it is current."""
    service.mode = "dateless"
    check = audit(tmp_path, service.url)
    assert check.status is Status.BLOCKED
    assert "how old" in check.reason
    live = audit(tmp_path, service.url, audit_live="mirrors osv.dev every hour")
    assert live.status is Status.PASS, live.reason


@pytest.mark.slow
def test_a_service_that_knows_nothing_is_an_error(tmp_path: Path, service: osv.Service) -> None:
    """A service that finds the known-bad pin clean proves nothing."""
    service.bad = {"another": ["1"]}
    check = audit(tmp_path, service.url)
    assert check.status is Status.ERROR
    assert "jinja2==2.10" in check.reason


@pytest.mark.slow
def test_an_alias_that_cannot_be_read_counts_as_high() -> None:
    """A lookup that fails is no low severity."""
    (found,) = lookup.records("http://127.0.0.1:9/v1/query", [["PYSEC-1"]])
    assert found.unread == ("PYSEC-1",)
    severity = rate([osv.rated("PYSEC-1", LOW)], found.unread)
    assert (severity.level, severity.known) == ("high", False)


@pytest.mark.slow
def test_a_local_database_is_asked_without_a_network(tmp_path: Path) -> None:
    """A folder of OSV documents is enough; packages without any advisory are counted."""
    folder = tmp_path / "osv"
    folder.mkdir()
    record = osv.advisory("jinja2", "2.10") | {"modified": osv.TODAY.isoformat()}
    (folder / "one.json").write_text(json.dumps(record))
    check = audit(tmp_path, None, audit_service="pypi", audit_database="osv")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "database") == f"{osv.TODAY:%Y-%m-%d}, 1 advisories"
    assert sample.value(check, "packages_without_any_advisory") == 1
    (folder / "two.json").write_text("{")
    broken = audit(tmp_path, None, audit_service="pypi", audit_database="osv")
    assert broken.status is Status.ERROR
    assert "two.json" in broken.reason


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
        closure.resolve("no-such-project", HERE)


@pytest.mark.slow
def test_the_closure_follows_extras_and_markers() -> None:
    """This package's closure holds the model stack and not what only tests need."""
    found = closure.resolve("mlx-preflight", HERE).versions
    assert {"mlx-lm", "mlx", "transformers", "rich"} <= set(found)
    assert not {"pytest", "mlx-preflight"} & set(found)
