"""The register is complete: one id for one check, and a function for each."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from mlx_preflight import plan, register
from mlx_preflight.errors import UsageError
from mlx_preflight.plan import Session

CHECKS = [(session, check) for session in register.SESSIONS for check in session.checks]


def test_ids_are_unique() -> None:
    """No two sessions and no two checks share an id, whatever the case."""
    for ids in ([item.id for item in register.SESSIONS], [check.id for _, check in CHECKS]):
        assert len({name.lower() for name in ids}) == len(ids)


def test_every_row_says_what_and_what_to_do() -> None:
    """Titles, remedies and checks are never empty."""
    for session in register.SESSIONS:
        assert session.title.strip()
        assert session.checks
    for _, check in CHECKS:
        assert check.title.strip()
        assert check.remedy.strip()


def test_every_session_is_in_the_whole_plan() -> None:
    """No tag but the self-test's is left out of the default group: nothing can be forgotten."""
    own = register.sessions("selftest")
    assert [session.id for session in own] == ["selftest"]
    assert (*register.sessions(), *own) == register.SESSIONS
    whole = {session.id for session in register.sessions()}
    for group in set(plan.GROUPS) - {"selftest"}:
        assert {session.id for session in register.sessions(group)} <= whole
    assert [session.id for session in register.sessions("e2e")] == ["e2e"]


def test_the_plan_is_required_but_for_the_benchmarks() -> None:
    """Only what the plan records without enforcing it is not required."""
    optional = [session.tag for session in register.SESSIONS if not session.required]
    assert set(optional) == {"bench"}


@pytest.mark.parametrize(("group", "count"), [("gates", 8), ("ac", 8)])
def test_a_group_is_its_part_of_the_plan(group: str, count: int) -> None:
    """The eight gates and the eight criteria, in the plan's order."""
    found = register.sessions(group)
    assert len(found) == count
    assert list(found) == [item for item in register.SESSIONS if item in found]


def test_an_unknown_group_suggests_the_nearest() -> None:
    """A misspelt group is an error, not an empty one."""
    with pytest.raises(UsageError, match="unknown group 'gate'; did you mean 'gates'"):
        register.sessions("gate")


@pytest.mark.parametrize("session", register.SESSIONS, ids=lambda item: item.id)
def test_every_check_has_its_function(session: Session) -> None:
    """Every check that is not blocked has a function of its id, and a `gather` before it."""
    asked = [check for check in session.checks if not check.blocked]
    if not asked:
        return
    module = importlib.import_module(f"mlx_preflight.{session.module}")
    missing = [
        check.function for check in asked if not callable(getattr(module, check.function, 0))
    ]
    assert missing == []
    assert callable(module.gather)


@pytest.mark.parametrize(
    ("name", "session", "check"),
    [
        ("ac4-loading", "ac4-loading", None),
        ("AC4-Loading", "ac4-loading", None),
        ("ac4.3", "ac4-loading", "AC4.3"),
        ("GATE2", "gate2-lint", "GATE2"),
    ],
)
def test_an_id_finds_its_session(name: str, session: str, check: str | None) -> None:
    """Session and check ids are found in any case."""
    found, single = register.find_session(name)
    assert found.id == session
    assert (single.id if single else None) == check


def test_an_unknown_id_suggests_the_nearest() -> None:
    """A misspelt id runs nothing and says which one was meant."""
    with pytest.raises(UsageError, match="did you mean 'gate2-lint'") as caught:
        register.find_session("gate2-lnt")
    assert "mlx-preflight list" in caught.value.hint


def test_the_core_imports_nothing_that_must_be_installed() -> None:
    """What the noxfile may import works on a bare Python, without site-packages."""
    names = "manifest plan register result summary verdict"
    source = str(next(iter(importlib.import_module("mlx_preflight").__path__))) + "/.."
    code = f"import sys; sys.path.insert(0, {source!r})\n" + "\n".join(
        f"import mlx_preflight.{name}" for name in names.split()
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
