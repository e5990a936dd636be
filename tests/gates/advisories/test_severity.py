"""Severity comes from vectors first, from a database's word second, and is never assumed low."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.gates.advisories.severity import LEVELS, rate

V2 = "AV:N/AC:L/Au:N/C:P/I:P/A:P"
V3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
V3_LOW = "CVSS:3.0/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
V4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


def record(*vectors: str, word: str = "", name: str = "X-1") -> dict[str, Any]:
    """Return a record with vectors and a database's word."""
    said = {"database_specific": {"severity": word}} if word else {}
    return {"id": name, "severity": [{"type": "CVSS", "score": v} for v in vectors], **said}


@pytest.mark.parametrize(
    ("vector", "level", "source"),
    [
        (V2, "high", "CVSS:2.0 7.5 in X-1"),
        (V3, "high", "CVSS:3.1 7.5 in X-1"),
        (V3_LOW, "low", "CVSS:3.0 1.8 in X-1"),
        (V4, "critical", "CVSS:4.0 9.3 in X-1"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "none", "CVSS:3.1 0.0 in X-1"),
    ],
)
def test_vectors_of_all_versions_are_scored(vector: str, level: str, source: str) -> None:
    """The score and where it was found are named."""
    found = rate([record(vector)])
    assert (found.level, found.source, found.known) == (level, source, True)


def test_the_worst_vector_of_all_aliases_counts() -> None:
    """Two databases that disagree are taken at the worse word, also where `affected` holds it."""
    inside = {"id": "X-3", "affected": [{"severity": [{"score": V4}]}]}
    assert rate([record(V3_LOW), record(V3, name="X-2")]).level == "high"
    assert rate([record(V3_LOW), inside]).level == "critical"


def test_a_vector_outweighs_a_word() -> None:
    """The database's own word is the second source, used when nobody gave a vector."""
    assert rate([record(V3_LOW, word="CRITICAL")]).level == "low"
    assert rate([record(word="Moderate")]).level == "medium"
    assert rate([{"id": "X", "affected": [{"database_specific": {"severity": "LOW"}}]}]).level == (
        "low"
    )


@pytest.mark.parametrize(
    "records",
    [[], [record()], [record("CVSS:3.1/AV:X")], [record("CVSS:9/x")], [record(word="SPICY")]],
)
def test_unknown_counts_as_high(records: list[dict[str, Any]]) -> None:
    """Nothing, an unreadable vector and an unknown word are no low severity."""
    found = rate(records)
    assert (found.level, found.known) == ("high", False)
    assert found.reaches("high")
    assert not found.reaches("critical")


def test_an_unread_alias_raises_a_low_one_only() -> None:
    """What could not be read may be high; it is not critical."""
    assert rate([record(V3_LOW)], ["GHSA-1"]).level == "high"
    assert rate([record(V4)], ["GHSA-1"]).level == "critical"


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["severity", "score", "affected", "database_specific", "id"]), inner
            )
        ),
    ).map(lambda value: {"id": "X", "severity": value, "affected": value})
)
def test_a_strangers_record_is_rated_or_unknown(strange: dict[str, Any]) -> None:
    """Whatever a service answers, a level comes out and nothing is raised."""
    assert rate([strange]).level in LEVELS
