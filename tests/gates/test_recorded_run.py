"""What the plugin leaves of a run, read while it goes on and afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.gates import recorded_run

if TYPE_CHECKING:
    from pathlib import Path

LINES = [
    {"deselected": 2},
    {"collected": ["a::x", 'a::y["]']},
    {"reported": "a::x", "outcome": "failed"},
    {"reported": "a::x", "outcome": "passed"},
]


def recorded(folder: Path, text: str) -> recorded_run.Files:
    """Return the files of a run whose record holds a text."""
    (folder / recorded_run.RECORD).write_text(text)
    return recorded_run.Files(folder / "junit.xml", folder / recorded_run.RECORD, (), {})


def test_a_run_in_progress_is_counted(tmp_path: Path) -> None:
    """Before the first test, in the middle, and with a line that is half written."""
    path = tmp_path / recorded_run.RECORD
    assert recorded_run.progress(path) == ""
    path.write_text("")
    assert recorded_run.progress(path) == ""
    text = "".join(f"{json.dumps(line)}\n" for line in LINES)
    path.write_text(text)
    assert recorded_run.progress(path) == "1 of 2 tests"
    path.write_text(text + '{"repor')
    assert recorded_run.progress(path) == "1 of 2 tests"


def test_a_test_that_failed_once_is_no_pass(tmp_path: Path) -> None:
    """A tear-down that passes does not undo the call that failed."""
    found = recorded(tmp_path, "".join(f"{json.dumps(line)}\n" for line in LINES)).read_record()
    assert (found.reported, found.deselected, found.ended) == ({"a::x": "failed"}, 2, False)
    assert found.doubt(["a::x"]).startswith("1 of 2 collected tests did not run")


@pytest.mark.parametrize("text", ["[]\n", "nothing\n", '{"reported": "a"}\n'])
def test_a_record_that_something_else_wrote_is_refused(tmp_path: Path, text: str) -> None:
    """It proves nothing."""
    with pytest.raises(ResultError, match="no record of a run"):
        recorded(tmp_path, text).read_record()
