"""Running a session: whatever a check does, its row is in the result."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mlx_preflight.core import result
from mlx_preflight.core.errors import BlockedError, ChildError, ResultError
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.plan import settings
from mlx_preflight.plan.spec import Check, Session
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import RUN_ID_VARIABLE, Context, new_run_id
from mlx_preflight.run.session import run_session

SESSION = Session(
    "try",
    "a session of two checks",
    "ac",
    "testing_runner",
    (Check("T1", "one", "mend one"), Check("T2", "two", "mend two")),
    stack="model",
)
PASS = Outcome(Status.PASS, "seen")

Answer = Callable[[Any], Any]


class Module(ModuleType):
    """A module of checks, made for one test."""

    CHECKS: dict[str, Answer]

    def answer(self, gather: Callable[..., Any] | None = None, **functions: Answer) -> None:
        if gather is not None:
            self.gather = gather
        self.CHECKS |= {name.upper(): function for name, function in functions.items()}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """Return the session's module, in which both checks pass."""
    made = Module("mlx_preflight.testing_runner")
    made.CHECKS = {}
    made.answer(gather=lambda *_: None, t1=lambda _: PASS, t2=lambda _: PASS)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context.of(tmp_path, settings.ProjectSettings(), run_id="run-1")


def raising(error: BaseException) -> Answer:
    def function(*_: object) -> None:
        raise error

    return function


def seen(session: Session, context: Context) -> list[tuple[str, Status, str, str]]:
    """Return id, status, reason and remedy of every row, as read back from the file."""
    written = run_session(session, context)
    assert result.read_result(context.results / f"{session.id}.json") == written
    return [(item.id, item.status, item.reason, item.remedy) for item in written.checks]


def test_a_session_that_passes(module: Module, context: Context) -> None:
    """Every check is recorded with run, profile, model, machine and commit."""
    values = (Measurement("load_s", 1.5, "s", "<= 2", (1.4, 1.6)),)
    answer = Outcome(Status.PASS, "fast", Evidence.SIMULATED, values, "not needed")
    module.answer(
        gather=lambda *_: SimpleNamespace(model={"fingerprint": "f"}),
        t2=lambda _: answer,
    )
    written = run_session(SESSION, context)
    assert written.status is Status.PASS
    assert (written.run_id, written.profile) == ("run-1", "embedded")
    assert written.model == {"requested": "embedded", "fingerprint": "f"}
    assert written.environment["python"]
    assert set(written.git) == {"commit", "dirty"}
    second = written.checks[1]
    assert (second.evidence, second.measurements, second.remedy) == (
        Evidence.SIMULATED,
        values,
        "",
    )


def test_the_facts_reach_every_check(module: Module, context: Context) -> None:
    """What `gather` returns is what the checks are asked about."""
    module.answer(
        gather=lambda session, context: f"{session.id} of {context.run_id}",
        t1=lambda facts: Outcome(Status.FAIL, facts),
    )
    assert seen(SESSION, context)[0][2] == "try of run-1"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ChildError("the child died", hint="feed it"), Status.ERROR, "the child died"),
        (BlockedError("no weights", hint="get them"), Status.BLOCKED, "no weights"),
        (ZeroDivisionError("by zero"), Status.ERROR, "ZeroDivisionError: by zero"),
        (SystemExit(0), Status.ERROR, "SystemExit: 0"),
        (RecursionError(), Status.ERROR, "RecursionError: "),
        (ChildError(""), Status.ERROR, "ChildError"),
        (BlockedError(""), Status.BLOCKED, "blocked: no reason was given"),
    ],
)
@pytest.mark.parametrize("where", ["gather", "t1"])
def test_what_raises_becomes_a_row(
    module: Module, context: Context, error: BaseException, status: Status, said: str, where: str
) -> None:
    """An error in one check is that check's row; in `gather` it is every check's."""
    module.answer(**{where: raising(error)})
    rows = seen(SESSION, context)
    assert rows[0][:3] == ("T1", status, said)
    assert rows[0][3] == (getattr(error, "hint", "") or "mend one")
    assert rows[1][1] is (status if where == "gather" else Status.PASS)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("FINISH1.1: no folder", "see FINISH1.1"),
        ("RUN6.1 fails: no step ended", "see RUN6.1"),
        ("nothing is trained", "mend one"),
    ],
)
def test_what_waits_for_a_check_says_which(
    module: Module, context: Context, said: str, remedy: str
) -> None:
    """The remedy of the check itself would be of no use before that one passes."""
    module.answer(t1=raising(BlockedError(said)))
    assert seen(SESSION, context)[0][3] == remedy


def test_versions_that_do_not_fit_are_named(module: Module, context: Context) -> None:
    """Where mlx or mlx-lm lacks what the other one imports; a module of ours is not that."""
    module.answer(gather=raising(ImportError("cannot import name 'x'", name="mlx.nn.utils")))
    _, status, said, remedy = seen(SESSION, context)[0][:4]
    assert status is Status.ERROR
    assert said.startswith("ImportError: cannot import name 'x' (mlx ")
    assert "mlx-lm " in said
    assert "fit each other" in remedy
    module.answer(gather=raising(ImportError("cannot import name 'x'", name="mlx_preflight.x")))
    assert seen(SESSION, context)[0][2] == "ImportError: cannot import name 'x'"


def test_a_module_that_does_not_exist_is_an_error(context: Context) -> None:
    """A session without its module answers every check with ERROR."""
    rows = seen(dataclasses.replace(SESSION, module="testing_gone"), context)
    assert {row[1] for row in rows} == {Status.ERROR}
    assert "ModuleNotFoundError" in rows[0][2]


def test_a_check_without_a_function_is_an_error(module: Module, context: Context) -> None:
    """A row of the register that nobody answers is not left out."""
    del module.CHECKS["T2"]
    rows = seen(SESSION, context)
    assert rows[1][1:3] == (Status.ERROR, "the session's module has no function for T2")


@pytest.mark.parametrize("answer", [None, True, "PASS", Status.PASS])
def test_what_is_no_outcome_is_an_error(module: Module, context: Context, answer: object) -> None:
    """A check that returns something else has not answered."""
    module.answer(t1=lambda _: answer)
    row = seen(SESSION, context)[0]
    assert row[1] is Status.ERROR
    assert row[2] == f"T1 returned {type(answer).__name__}"


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_pass_without_a_reason_is_an_error(module: Module, context: Context, reason: str) -> None:
    """A check that says PASS and not why proves nothing."""
    module.answer(t1=lambda _: Outcome(Status.PASS, reason))
    assert seen(SESSION, context)[0][1:3] == (Status.ERROR, "T1 said PASS without a reason")


def test_a_remedy_may_be_empty(module: Module, context: Context) -> None:
    """Where neither the outcome nor the register knows what to do, nothing is made up."""
    module.answer(t1=lambda _: Outcome(Status.FAIL, "seen"))
    rows = seen(dataclasses.replace(SESSION, checks=(Check("T1", "one"),)), context)
    assert rows == [("T1", Status.FAIL, "seen", "")]


def test_the_outcomes_own_remedy_wins(module: Module, context: Context) -> None:
    """A check may know better than the register what to do; a PASS needs nothing."""
    module.answer(
        t1=lambda _: Outcome(Status.FAIL, "seen", remedy="do this"),
        t2=lambda _: Outcome(Status.FAIL, "seen"),
    )
    assert [row[3] for row in seen(SESSION, context)] == ["do this", "mend two"]


def test_secrets_are_redacted(module: Module, context: Context) -> None:
    """Tokens in reasons and remedies do not reach the file."""
    module.answer(t1=lambda _: Outcome(Status.FAIL, "hf_abcdefghijkl", remedy="Bearer abc"))
    seen(SESSION, context)
    text = (context.results / "try.json").read_text(encoding="utf-8")
    assert "hf_abc" not in text
    assert "Bearer ***" in text


def test_a_model_that_cannot_be_described_loses_no_check(module: Module, context: Context) -> None:
    """An error while describing the model leaves the rows as they are."""

    class Facts:
        @property
        def model(self) -> dict[str, str]:
            raise ChildError("gone")

    module.answer(gather=lambda *_: Facts())
    written = run_session(SESSION, context)
    assert written.status is Status.PASS
    assert written.model == {"requested": "embedded", "unknown": "ChildError: gone"}


def test_an_interrupted_session_leaves_no_old_result(module: Module, context: Context) -> None:
    """Ctrl-C ends the session, and its earlier PASS of the same run does not stay behind."""
    run_session(SESSION, context)
    module.answer(t2=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run_session(SESSION, context)
    assert list(context.results.iterdir()) == []


def test_a_result_that_cannot_be_written_is_an_error(module: Module, context: Context) -> None:
    """Without a place for the result the session raises, so its exit code is not 0."""
    context.state.write_text("a file", encoding="utf-8")
    with pytest.raises(ResultError):
        run_session(SESSION, context)
    with pytest.raises(ResultError, match="cannot create"):
        context.scratch("try")


def test_the_scratch_folder_is_the_sessions_own(context: Context) -> None:
    """What a session produces lies in a folder of its name."""
    folder = context.scratch("try")
    assert folder == context.state / "artifacts" / "try"
    assert context.scratch("try").is_dir()


def test_the_run_id_is_inherited_or_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of one nox process share an id; without one each gets its own."""
    monkeypatch.setenv(RUN_ID_VARIABLE, "given")
    assert new_run_id() == "given"
    monkeypatch.delenv(RUN_ID_VARIABLE)
    assert new_run_id() != new_run_id()


def test_a_long_session_says_that_it_is_running(
    module: Module, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress is shown until the session ends, and not after it."""
    said: list[str] = []
    monkeypatch.setattr(runner, "BEAT_S", 0.01)

    def slow(*_: object) -> None:
        deadline = time.monotonic() + 10
        while len(said) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)

    module.answer(gather=slow)
    run_session(SESSION, dataclasses.replace(context, note=said.append))
    assert said[0] == "try: a session of two checks"
    assert said[2].startswith("try: ")
    assert said[2].endswith(" s")
    ended = len(said)
    time.sleep(0.05)
    assert len(said) == ended
