"""The comparison of two checkouts can fail: it names what differs and what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unchanged import main
from unchanged_differences import accepted, differences
from unchanged_parts import shape

Compare = Callable[..., tuple[int, dict[str, Any]]]

PREDICTED = json.dumps({"peak_bytes": 69115186246, "macs": [{"ram_gb": 16}]}, indent=1)


def found(before: Any, after: Any) -> list[str]:
    return [item["name"] for item in differences(before, after)]


def test_equal_values_differ_nowhere() -> None:
    value = {"7b": {"exit": 0, "stdout": PREDICTED, "none": None, "list": [1, 2.5]}}
    assert not found(value, json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a/b"),
        ({"a": 1}, {"a": 1.0}, "a"),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 0.1}, {"a": 0.1 + 1e-17 * 2}, "a"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1]/b"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": None}, "a"),
        ({"a": PREDICTED}, {"a": PREDICTED.replace("246", "247")}, "a/peak_bytes"),
        ({"a": PREDICTED}, {"a": PREDICTED.replace(": 16", ": 17")}, "a/macs[0]/ram_gb"),
        ({"a": PREDICTED}, {"a": PREDICTED.replace("\n", "\n ")}, "a"),
    ],
)
def test_each_difference_is_named_by_its_place(before: Any, after: Any, name: str) -> None:
    assert found(before, after) == [name]


def test_a_long_text_is_shown_by_the_lines_that_differ() -> None:
    before = "\n".join(map(str, range(100)))
    (item,) = differences(before, before.replace("\n50\n", "\nfifty\n"), "help")
    assert item == {"name": "help", "lines": ["@@ -51 +51 @@", "-50", "+fifty"]}


def test_a_pattern_accepts_what_it_matches_and_takes_brackets_literally() -> None:
    assert accepted("options/runs search/--limit", ["options/runs*"])
    assert accepted("run/a[1]/b", ["run/a[1]/b"])
    assert not accepted("run/a1/b", ["run/a[1]/b"])
    assert not accepted("options/list", ["options/runs*"])


def test_the_shape_of_a_document_holds_keys_and_types_but_no_values() -> None:
    assert shape('{"a": [{"b": 1}, {"b": "x"}]}') == [".a[].b: int", ".a[].b: str"]
    assert shape('<?xml version="1.0"?><a b="1"/>') == ["a ['b']"]
    assert shape("words") == "text"
    assert shape("") == ""


@pytest.fixture
def captures(tmp_path: Path) -> tuple[Path, Path]:
    """Return two captures of the part `run` that agree."""
    for side in ("before", "after"):
        (tmp_path / side).mkdir()
        document = {"results": {"ac4": {"checks": {"AC4.1": {"measurements": {"load_s": "s"}}}}}}
        (tmp_path / side / "run.json").write_text(json.dumps(document))
    return tmp_path / "before", tmp_path / "after"


@pytest.fixture
def compare(
    captures: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Compare:
    """Return a function that compares the captures, and returns exit code and document."""

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["unchanged", "compare", *map(str, captures), *options])
        code = main()
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, document

    return run


def test_two_captures_that_agree_are_unchanged(compare: Compare) -> None:
    code, document = compare("--part", "run")
    assert (code, document["unchanged"], document["compared"]) == (0, True, {"run": 1})


def test_a_renamed_measurement_fails_unless_it_is_accepted(
    captures: tuple[Path, Path], compare: Compare
) -> None:
    path = captures[1] / "run.json"
    path.write_text(path.read_text().replace("load_s", "load_seconds"))
    code, document = compare("--part", "run")
    place = "run/results/ac4/checks/AC4.1/measurements/"
    names = [item["name"] for item in document["different"]]
    assert (code, names) == (1, [f"{place}load_s", f"{place}load_seconds"])
    code, document = compare("--part", "run", "--accept", "run/*/load_s*")
    assert (code, document["accepted"]) == (0, {"run/*/load_s*": 2})


def test_a_part_that_is_missing_or_empty_proves_nothing(
    captures: tuple[Path, Path], compare: Compare
) -> None:
    code, document = compare("--part", "run", "--part", "init")
    assert (code, len(document["missing"]), document["different"]) == (1, 2, [])
    for folder in captures:
        (folder / "run.json").write_text("{}")
    code, document = compare("--part", "run")
    assert (code, document["compared"], document["unchanged"]) == (1, {"run": 0}, False)
