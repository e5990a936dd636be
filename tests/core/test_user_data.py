"""The folder of the user's data."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from mlx_preflight.core import user_data
from mlx_preflight.core.errors import ResultError


def test_the_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the system's own place for data; a relative one does not count."""
    monkeypatch.setenv(user_data.VARIABLE, str(tmp_path))
    assert user_data.runs_file() == tmp_path / "runs.jsonl"
    monkeypatch.delenv(user_data.VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "darwin":
        assert user_data.folder() == tmp_path / "Library/Application Support/mlx-preflight"
        return
    assert user_data.folder() == tmp_path / "data" / "mlx-preflight"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert user_data.folder() == tmp_path / ".local" / "share" / "mlx-preflight"


def test_lines_are_appended_and_a_torn_one_is_ended(tmp_path: Path) -> None:
    """What a crash left behind costs no later line."""
    path = tmp_path / "new" / "runs.jsonl"
    user_data.append_line(path, {"a": 1})
    with path.open("a") as stream:
        stream.write('{"torn')
    user_data.append_line(path, {"a": 2})
    first, torn, last = path.read_text().splitlines()
    assert (json.loads(first), torn, json.loads(last)) == ({"a": 1}, '{"torn', {"a": 2})


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A folder that is a file, and a number that is none."""
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="cannot write"):
        user_data.append_line(tmp_path / "file" / "runs.jsonl", {})
    with pytest.raises(ResultError, match="cannot write"):
        user_data.append_line(tmp_path / "runs.jsonl", {"a": math.nan})


def test_a_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """The lines before the last ones are kept once, and no line is lost on the way."""
    path = tmp_path / "runs.jsonl"
    for number in range(6):
        user_data.append_line(path, {"a": number}, most_bytes=20)
    assert user_data.older(path) == tmp_path / "runs.older.jsonl"
    kept = [*user_data.older(path).read_text().splitlines(), *path.read_text().splitlines()]
    assert [json.loads(line)["a"] for line in kept] == [0, 1, 2, 3, 4, 5][-len(kept) :]
    assert len(kept) >= 4
