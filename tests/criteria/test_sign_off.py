"""Sign-offs: what is recorded, what is refused, what expires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.json_file import write_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import answers, sign_off


@pytest.fixture
def state(tmp_path: Path) -> Any:
    """A state folder with answers in it."""
    judged = {"model": "f" * 64, "answers": [{"id": "a", "answer": "b"}]}
    document = {"judged": judged, "digest": answers.digest(judged)}
    write_json(Workspace(tmp_path).answers, document)
    return tmp_path


def test_a_sign_off_names_who_when_and_what(state: Path) -> None:
    """The record holds the person, the time, the note, the digest and the model."""
    done = sign_off.record(state, "ac5.4", " Ada ", "read all of it")
    assert (done.check, done.who, done.note, done.model) == (
        "AC5",
        "Ada",
        "read all of it",
        "f" * 64,
    )
    found = sign_off.state(state, "AC5", done.digest)
    assert found == sign_off.SignOffState("valid", done)
    assert sign_off.state(state, "AC5", "0" * 64).kind == "expired"


def test_no_sign_off_is_none(state: Path) -> None:
    """Before anyone signs there is none."""
    assert sign_off.state(state, "AC5", "0" * 64).describe() == "none"


@pytest.mark.parametrize(
    ("check", "who", "note", "digest"),
    [
        ("AC6", "Ada", "fine", None),
        ("AC5", " ", "fine", None),
        ("AC5", "Ada", "", None),
        ("AC5", "Ada", "fine", "0" * 64),
    ],
)
def test_incomplete_sign_offs_are_refused(
    state: Path, check: str, who: str, note: str, digest: str | None
) -> None:
    """No name, no note, another criterion or other answers: nothing is recorded."""
    with pytest.raises(UsageError):
        sign_off.record(state, check, who, note, digest)
    assert not (state / "sign-offs").exists()


def test_there_must_be_answers_to_sign(tmp_path: Path) -> None:
    """Nothing can be signed before the session has saved answers."""
    with pytest.raises(ResultError):
        sign_off.record(tmp_path, "AC5", "Ada", "fine")


@pytest.mark.parametrize("content", ["", "[]", '{"who": "Ada"}'])
def test_a_damaged_sign_off_is_not_none(state: Path, content: str) -> None:
    """A file that cannot be read is an error, neither valid nor absent."""
    (state / "sign-offs").mkdir()
    (state / "sign-offs" / "AC5.json").write_text(content)
    with pytest.raises(ResultError):
        sign_off.state(state, "AC5", "0" * 64)


def test_a_damaged_document_of_answers_is_refused(state: Path) -> None:
    """Answers without their frame cannot be signed."""
    write_json(Workspace(state).answers, {"digest": "x"})
    with pytest.raises(ResultError, match="not a document"):
        sign_off.record(state, "AC5", "Ada", "fine")
