"""The register is complete: one id for one check, and a function for each."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import register, spec

CHECKS = [(session, check) for session in register.SESSIONS for check in session.checks]


def test_ids_are_unique() -> None:
    """No two sessions and no two checks share an id, whatever the case."""
    for ids in ([item.id for item in register.SESSIONS], [check.id for _, check in CHECKS]):
        assert len({name.lower() for name in ids}) == len(ids)


def test_every_row_says_what_and_what_to_do() -> None:
    """Titles are never empty; a remedy may be, and then it is quite empty."""
    for session in register.SESSIONS:
        assert session.title.strip()
        assert session.checks
    for _, check in CHECKS:
        assert check.title.strip()
        assert check.remedy == check.remedy.strip()
        assert "see the reason" not in check.remedy


def test_every_session_is_in_the_whole_plan() -> None:
    """Only the self-test, and a training run or adapter that nobody named, are left out."""
    own, run = register.sessions("selftest"), register.sessions("run")
    finish = register.sessions("finish")
    assert [session.id for session in own] == ["selftest"]
    assert {session.tag for session in run} == {"run", "rehearsal"}
    quick = {session.id for session in register.sessions("qualify")}
    assert {session.id for session in run} - quick == {register.RUN6_REHEARSAL}
    assert (*register.sessions(), *own, *run, *finish) == register.SESSIONS
    assert register.sessions(training=True) == (*register.sessions(), *run)
    whole = {session.id for session in register.sessions()}
    for group in set(spec.GROUPS) - {"selftest", "run", "qualify", "finish"}:
        assert {session.id for session in register.sessions(group)} <= whole
    assert [session.id for session in register.sessions("e2e")] == ["e2e"]


def test_the_plan_is_required_but_for_the_benchmarks() -> None:
    """Only what the plan records without enforcing it is not required."""
    optional = [session.tag for session in register.SESSIONS if not session.required]
    assert set(optional) == {"bench"}


@pytest.mark.parametrize(("group", "count"), [("gates", 8), ("ac", 8)])
def test_a_group_is_its_part_of_the_plan(group: str, count: int) -> None:
    """The eight gates and the eight criteria of the plan, and what was added, in their order."""
    found = register.sessions(group)
    assert len(found) >= count
    assert list(found) == [item for item in register.SESSIONS if item in found]


def test_an_unknown_group_suggests_the_nearest() -> None:
    """A misspelt group is an error, not an empty one."""
    with pytest.raises(UsageError, match="unknown group 'gate'; did you mean 'gates'"):
        register.sessions("gate")


@pytest.mark.parametrize("module", sorted({item.module for item in register.SESSIONS}))
def test_a_module_has_the_checks_of_its_sessions_and_no_other(module: str) -> None:
    """Every row of the register has its function, and no function is without a row."""
    rows = [
        check.id for item in register.SESSIONS if item.module == module for check in item.checks
    ]
    loaded = importlib.import_module(f"mlx_preflight.{module}")
    assert list(loaded.CHECKS) == rows
    assert all(callable(function) for function in loaded.CHECKS.values())
    assert callable(loaded.gather)


def test_no_other_module_spells_an_id() -> None:
    """Ids are constants of the register, so a renamed check is found by mypy."""
    ids = {item.id for item in register.SESSIONS} | {check.id for _, check in CHECKS}
    # These are words or names of other things, too.
    ids -= {"e2e", "mcp", "selftest"}
    plan = Path(register.__file__).parent
    src = plan.parents[1]
    spelt = [
        f"{path.name}:{node.lineno}: {node.value}"
        for path in src.rglob("*.py")
        # The place of the answers is below the register, so it cannot import their id.
        if path not in {*plan.glob("register_*.py"), src / "mlx_preflight/core/workspace.py"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ids
    ]
    # core cannot import the register, and every path below .preflight is in one class there.
    assert [item for item in spelt if not item.startswith("workspace.py")] == []
    assert Workspace(Path()).answers.parent.name == register.AC5_INFERENCE


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
    names = "run.manifest plan.spec plan.register core.result run.summary run.verdict"
    source = str(next(iter(importlib.import_module("mlx_preflight").__path__))) + "/.."
    code = f"import sys; sys.path.insert(0, {source!r})\n" + "\n".join(
        f"import mlx_preflight.{name}" for name in names.split()
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
