"""The queue is spliced: what is not the task's result comes out byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core.errors import HandoffError
from mlx_preflight.handoff import sprint_queue

MEMBERS = {"status": "needs_adapt", "test_results": {"run_id": "r1", "failed": ["AC6.7"]}}

QUEUE = """{
    "sprint": 4, "budget": 1.10, "big": 123456789012345678901234567890,
    "tasks": [
        {
            "id": "T001",
            "subtasks": [
                {"task_id": "T001-T01", "status": "open", "owner": null}
            ],
            "status": "in_progress", "tags": ["a", "b"]
        },
        {"id": "T002"}
    ],
    "caf\\u00e9": "\\u2713"
}"""


def test_only_the_named_members_change() -> None:
    """Number formats, key order, inline lists, escapes and the missing last newline stay."""
    text, marked = sprint_queue.mark(QUEUE, ("T001-T01", "T001"), MEMBERS)
    dumped = json.dumps(MEMBERS["test_results"])
    expected = QUEUE.replace(
        '"open", "owner": null', f'"needs_adapt", "owner": null, "test_results": {dumped}'
    )
    assert text == expected
    assert marked == "T001-T01"


def test_the_task_is_marked_where_the_queue_has_no_subtask() -> None:
    """The second id counts when the first is not listed, and the file's indentation is used."""
    text, marked = sprint_queue.mark(QUEUE, ("T001-T09", "T001"), MEMBERS)
    assert marked == "T001"
    margin = "\n" + 12 * " "
    assert f'{margin}"status": "needs_adapt", "tags": ["a", "b"],{margin}"test_results": {{' in text
    assert f'{margin}    "run_id": "r1"' in text
    assert json.loads(text)["tasks"][0]["test_results"] == MEMBERS["test_results"]


def test_marking_twice_changes_nothing_more() -> None:
    """The second splice of the same members gives the same bytes."""
    once, _ = sprint_queue.mark(QUEUE, ("T001",), MEMBERS)
    assert sprint_queue.mark(once, ("T001",), MEMBERS)[0] == once


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["\t", "  ", "    "])
def test_indentation_and_line_ends_are_the_files_own(indent: str, newline: str) -> None:
    """New lines look as the file's own dump would write them."""
    task: dict[str, object] = {"id": "T001", "title": "✓"}
    document = {"tasks": [task]}
    before = json.dumps(document, indent=indent, ensure_ascii=False).replace("\n", newline)
    text, _ = sprint_queue.mark(before, ("T001",), MEMBERS)
    task.update(MEMBERS)
    assert text == json.dumps(document, indent=indent, ensure_ascii=False).replace("\n", newline)


def test_a_queue_that_is_itself_a_list_is_understood() -> None:
    """Any list of objects with an id holds tasks."""
    text, _ = sprint_queue.mark('[{"id": "T001"}]', ("T001",), {"status": "x"})
    assert text == '[{"id": "T001", "status": "x"}]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a valid JSON"),
        ('{"tasks": [', "not a valid JSON"),
        ('{"tasks": [{"id": "T001"}]} trailing', "not a valid JSON"),
        ('{"tasks": [{"id": "T001", "load": NaN}]}', "NaN is not JSON"),
        ('{"tasks": [{"id": "T001", "id": "T002"}]}', "occurs twice"),
        ('{"tasks": [{"id": "T001"}, {"task_id": "T001"}]}', "listed 2 times"),
        ('{"tasks": []}', "no task with id"),
        ('{"id": "T001"}', "no task with id"),
        ('"T001"', "no task with id"),
        ('{"tasks": [{"id": ["T001"]}]}', "no task with id"),
        ("[" * 100_000, "not a valid JSON"),
    ],
)
def test_what_cannot_be_marked_safely_is_refused(text: str, reason: str) -> None:
    """A malformed, ambiguous or foreign queue is an error, never a guess."""
    with pytest.raises(HandoffError, match=reason):
        sprint_queue.mark(text, ("T001",), MEMBERS)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    extra=st.dictionaries(st.text(max_size=5), _VALUES, max_size=4),
    other=_VALUES,
    indent=st.sampled_from([None, 1, 2, "\t"]),
    ascii_only=st.booleans(),
)
def test_every_other_value_survives(
    extra: dict[str, object], other: object, indent: int | str | None, ascii_only: bool
) -> None:
    """Whatever else the queue holds is equal afterwards, in the same order."""
    task = {**extra, "id": "wanted \u2713"}
    task.pop("task_id", None)
    rest = {"notes": {"x": [other]}}
    document = {"tasks": [task], **rest}
    before = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    try:
        text, _ = sprint_queue.mark(before, ("wanted \u2713",), MEMBERS)
    except HandoffError:
        assert "wanted" in json.dumps([extra, other])
        return
    after = json.loads(text)
    marked = {**task, **MEMBERS}
    assert after == {"tasks": [marked], **rest}
    assert list(after["tasks"][0]) == list(marked)
