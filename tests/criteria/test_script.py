"""The plan's scripts run: what they say at their end counts, not that a file is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_preflight.core.result import SessionResult, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import inference, loading, memory, script
from mlx_preflight.plan import register, settings
from mlx_preflight.run.context import Context

Maker = Callable[..., dict[str, SessionResult]]

SESSIONS = {
    "ac4-loading": (loading, "load_model_test.py", register.AC4_2),
    "ac5-inference": (inference, "inference_test.py", register.AC5_2),
    "ac6-memory": (memory, "memory_profile.py", register.AC6_2),
}


def write(project: Path, name: str, text: str) -> Context:
    """Write a script, and return the context in which its session runs it."""
    path = project / script.FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Context.of(project, settings.ProjectSettings(), note=lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os\n", "it never said"),
        ('raise SystemExit("not written yet")\n', "exit code 1: not written yet"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("from mlx_lm import no_such_name\n", "exit code 1"),
        ("print({words!r})\nraise RuntimeError('at the end')\n", "at the end"),
        ("print({words!r})\nraise SystemExit(3)\n", "exit code 3"),
    ],
)
def test_a_script_that_does_not_work_fails(
    tmp_path: Path, make_run: Maker, text: str, why: str
) -> None:
    """Whatever the package's own function measured, the plan runs the script."""
    module, name, check = SESSIONS["ac4-loading"]
    context = write(tmp_path, name, text.replace("{words!r}", "'Model loaded successfully'"))
    found = module.confirm(context, make_run()["ac4-loading"])
    assert found[check].status is Status.FAIL
    assert f"scripts/training/{name}" in found[check].reason
    assert why in found[check].reason


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS)
def test_a_script_of_ones_own_is_believed_by_its_words(
    tmp_path: Path, make_run: Maker, session: str
) -> None:
    """It need not use this package; it says what the plan's greps look for, and exits with 0."""
    module, name, check = SESSIONS[session]
    said = module.confirm.keywords["says"][0]
    finished = make_run()[session]
    assert module.confirm(write(tmp_path, name, f"print({said!r})\n"), finished) == {}
    assert check in module.confirm(write(tmp_path, name, "print('hello')\n"), finished)


def test_no_script_is_run_in_vain(tmp_path: Path, make_run: Maker) -> None:
    """A missing script is another check's finding; so is a model that does not load."""
    module, name, check = SESSIONS["ac4-loading"]
    finished = make_run()["ac4-loading"]
    context = Context.of(tmp_path, settings.ProjectSettings(), note=lambda _: None)
    assert module.confirm(context, finished) == {}
    context = write(tmp_path, name, "raise SystemExit(1)\n")
    by_hand = dataclasses.replace(context, state=Workspace.of(tmp_path).scripts.folder)
    assert module.confirm(by_hand, finished) == {}
    failed = [
        dataclasses.replace(item, status=Status.FAIL) if item.id == check else item
        for item in finished.checks
    ]
    assert module.confirm(context, dataclasses.replace(finished, checks=tuple(failed))) == {}
