"""Records are bounded, cleaned of what could command a reader, and refused when damaged."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.text import one_line
from mlx_preflight.history import record_form, records
from tests.mcp.support import runs


def test_a_record_holds_what_questions_are_asked_about() -> None:
    """Verdict, machine, checks with reasons, and numbers under check and name."""
    made = records.from_report(
        runs.report(3, failed={"GATE1": "two files"}, measured={"AC6.2/peak_bytes": 13e9}),
        {"lint_max": 3},
    )
    assert made["run_id"] == "run-00003"
    assert made["machine"] == "Linux x86_64 AMD EPYC, 2 cores, 25 GB"
    assert made["checks"]["GATE1"]["reason"] == "two files"
    assert made["measurements"] == {"AC6.2/peak_bytes": 13e9}
    assert made["settings"] == {"lint_max": "3"}
    assert "3 of 4 checks" not in records.format_line(made)
    assert "2 of 3 checks PASS: GATE1" in records.format_line(made)


def test_a_strangers_words_are_cut_and_harmless() -> None:
    """Escapes, direction marks and endless texts do not reach the record."""
    hostile = "\x1b[31mred\x1b[0m \u202eevil\u2066 \x00 line\r\nbreak " + "x" * 10_000
    made = records.from_report(runs.report(failed={"GATE1": hostile}))
    reason = made["checks"]["GATE1"]["reason"]
    assert len(reason) == record_form.MAX_TEXT
    assert reason.startswith("red evil line break xxx")
    assert one_line("ü 模型 ok") == "ü 模型 ok"


@pytest.mark.parametrize("run_id", ["", "../etc", "a/b", "a b", "x" * 129, None, 3, "-x"])
def test_a_run_id_that_is_no_name_is_refused(run_id: Any) -> None:
    """It becomes part of addresses and file names."""
    with pytest.raises(ResultError):
        records.from_report(runs.report(run_id=run_id))


@pytest.mark.parametrize("key", ["rows", "verdict", "model", "environment", "git", "started"])
def test_a_report_without_a_part_is_refused(key: str) -> None:
    """What is missing is named, not guessed."""
    report = runs.report()
    del report[key]
    with pytest.raises(ResultError, match=key):
        records.from_report(report)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"kind": "order"},
        {"run_id": "../x"},
        {"status": "GREEN"},
        {"checks": {"GATE1": "PASS"}},
        {"checks": []},
        {"measurements": {"a": True}},
        {"measurements": {"a": [1]}},
        {"measurements": {"a": float("nan")}},
        {"measurements": {"a": float("-inf")}},
        {"measurements": {"a": 10**400}},
        {"measurements": {"a": "x" * 201}},
        {"measurements": {"a\x1b[2J": 1}},
        {"measurements": {f"a/{number}": 1 for number in range(5001)}},
        {"model": 3},
        {"model": "m" * 401},
        {"model": "\x1b[31mred"},
        {"model": "\u202edlrow"},
        {"started": "2026 \ud800"},
        {"memory_bytes": "16"},
        {"memory_bytes": True},
        {"settings": {"a": [1, 2]}},
        {"packages": {"a": 1}},
        {"git": {"a": "line\nbreak"}},
        {"sign_offs": {"AC5": {"who": "Ada"}}},
        {"sign_offs": []},
        {"extra": "of a later version"},
    ],
)
def test_a_damaged_record_is_refused(changes: dict[str, Any]) -> None:
    """Another schema, kind, status or type is not believed."""
    whole = records.from_report(runs.report())
    assert record_form.validate(whole) is whole
    with pytest.raises(ResultError):
        record_form.validate(whole | changes)


@pytest.mark.parametrize("key", ["model", "status", "memory_bytes", "checks", "measurements"])
def test_a_record_without_a_part_is_refused(key: str) -> None:
    """Nothing is filled in."""
    whole = records.from_report(runs.report())
    del whole[key]
    with pytest.raises(ResultError, match="run-00000"):
        record_form.validate(whole)


@pytest.mark.parametrize(
    "changes",
    [{"reason": 5}, {"title": None}, {"required": "yes"}, {"status": "green"}, {"more": "x"}],
)
def test_a_damaged_check_is_refused(changes: dict[str, Any]) -> None:
    """Each of its fields is of its form."""
    whole = records.from_report(runs.report())
    whole["checks"]["GATE1"] |= changes
    with pytest.raises(ResultError):
        record_form.validate(whole)


def test_what_is_no_record_is_refused() -> None:
    """Lists, texts and notes without words."""
    documents: list[Any] = [[], "x", None, {"schema": 1, "kind": "note", "run_id": "a", "text": 3}]
    note = {"schema": 1, "kind": "note", "run_id": "a", "text": "x", "who": "y", "when": "z"}
    assert record_form.validate(note) == note
    documents += [note | {"text": "\x07"}, note | {"who": "y" * 81}, note | {"sign_offs": {}}]
    for document in documents:
        with pytest.raises(ResultError):
            record_form.validate(document)
