"""Every check of the register has a defect and a clean neighbour, by construction."""

from __future__ import annotations

from collections import Counter

import pytest

from mlx_preflight.plan import register
from mlx_preflight.selftest.injection import catalogue, figures, pool
from mlx_preflight.selftest.injection.case import ALL, Case, Kit

CASES = catalogue.cases()
DEFECTS = [case for case in CASES if case.check]
CHECKS = {check.id: session.id for session in register.SESSIONS for check in session.checks}


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_a_defect_and_a_clean_neighbour(check: str) -> None:
    """A check that nothing was planted for is not proved, and fails here."""
    assert any(case.check == check for case in DEFECTS), f"no defect is planted for {check}"
    assert figures.neighbours(CASES)[check], f"{check} has no clean neighbour"


def test_there_are_enough() -> None:
    """At least 250 defects and 80 clean variants."""
    assert len(DEFECTS) >= 250
    assert len(CASES) - len(DEFECTS) >= 80


def test_most_defects_are_in_the_input() -> None:
    """What was answered is changed only where no input gives the answer."""
    assert sum(case.answer for case in DEFECTS) < len(DEFECTS) / 3


def test_every_case_belongs_to_its_session() -> None:
    """Checks, consequences and neighbours are of the session that is run; no id is there twice."""
    for case in CASES:
        own = {name for name, session in CHECKS.items() if session == case.session}
        assert {case.check} - {""} | case.near | case.along - {ALL} <= own, case.id
    assert [name for name, count in Counter(case.id for case in CASES).items() if count > 1] == []


def test_every_session_is_in_the_catalogue() -> None:
    """A new session has a module of cases, or this fails."""
    named = [session for sessions in catalogue.MODULES.values() for session in sessions]
    assert sorted(named) == sorted(session.id for session in register.SESSIONS)


def test_batches_hold_every_case_once() -> None:
    """Of one session each; what shares a measurement stays together."""
    made = pool.batches(CASES)
    assert sorted(case.id for batch in made for case in batch.cases) == sorted(c.id for c in CASES)
    assert all({case.session for case in batch.cases} == {batch.session} for batch in made)
    for session in ("ac3-installation", "ac5-inference"):
        mine = [batch.cases for batch in made if batch.session == session]
        sharing = [cases for cases in mine if any(case.shared for case in cases)]
        assert len(sharing) == 1, session


def test_a_check_without_a_case_has_no_neighbour() -> None:
    """The first test would notice: `neighbours` invents none."""
    alone = Kit("gate1-format", ()).clean("x")
    assert figures.neighbours([alone])["GATE1"] == [alone]
    assert figures.neighbours([alone])["GATE2"] == []
    other = Case("ac1-evaluation", "y", near=frozenset({"AC1.1"}))
    assert figures.neighbours([other])["AC1.2"] == []
