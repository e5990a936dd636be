"""The real pip-audit on real advisories of October 2024: what they know, and what they do not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mlx_preflight.core.result import CheckResult, Status
from mlx_preflight.gates.advisories.database import Database
from mlx_preflight.gates.advisories.severity import rate
from tests.gates import sample

SNAPSHOT = Path(__file__).parent / "pypa-2024-10-10.zip"


def audit(tmp_path: Path, pins: str) -> CheckResult:
    """Audit exact pins against the snapshot."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'app'\n")
    (tmp_path / "pins.txt").write_text(pins)
    options = {"audit_environment": "pins.txt", "audit_database": str(SNAPSHOT)}
    return sample.run(tmp_path, "gate8-audit", **options)


def test_every_vector_of_the_database_is_scored() -> None:
    """PyPA's own 202 ratings: 34 critical, 74 high, 86 medium, 8 low, none unreadable."""
    database = Database.open(SNAPSHOT)
    records = [database.record(path) for path in _ids(database)]
    rated = [rate([record]) for record in records if record and record.get("severity")]
    assert all(item.known for item in rated)
    levels = Counter(item.level for item in rated)
    assert levels == {"critical": 34, "high": 74, "medium": 86, "low": 8}


def _ids(database: Database) -> list[str]:
    return list(database._by_id)


@pytest.mark.slow
def test_old_packages_fail_at_any_age(tmp_path: Path) -> None:
    """Nine advisories in two packages, one rated by a vector, the others unknown and so high."""
    check = audit(tmp_path, "jinja2==2.10\nurllib3==1.24\n")
    assert check.status is Status.FAIL
    assert len(check.diagnostics) == 9
    messages = {item.code: item.message for item in check.diagnostics}
    assert "high (CVSS:3.1 8.1 in PYSEC-2023-192)" in messages["PYSEC-2023-192"]
    assert "fixed in 2.10.1" in messages["PYSEC-2019-217"]
    assert sample.value(check, "vulnerabilities_unrated") == 6


@pytest.mark.slow
def test_clean_two_years_ago_is_not_clean(tmp_path: Path) -> None:
    """Packages with known faults of 2025 are "clean" in a snapshot of 2024: BLOCKED, never PASS."""
    check = audit(tmp_path, "jinja2==3.1.4\nrequests==2.32.3\nurllib3==2.2.3\n")
    assert check.status is Status.BLOCKED
    assert "clean as of 2024-10-10" in check.reason
