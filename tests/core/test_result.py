"""Result files: nothing is lost, nothing foreign is read, nothing is half written."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_preflight.core import json_file, result
from mlx_preflight.core.diagnostic import KEPT, LEVELS, STATES, Diagnostic
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import (
    UNITS,
    CheckResult,
    Evidence,
    Measurement,
    SessionResult,
    Status,
)
from mlx_preflight.plan import register

GATE = register.SESSIONS[0]

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
said = texts.filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
mappings = st.dictionaries(texts, values, max_size=3)
measurements = st.builds(
    Measurement,
    name=texts,
    value=finite | st.integers() | texts,
    unit=st.sampled_from(sorted(UNITS)),
    limit=st.none() | texts,
    samples=st.lists(finite, max_size=3).map(tuple),
)
places = st.builds(
    Diagnostic,
    tool=texts,
    code=texts,
    message=texts,
    path=texts,
    line=st.integers(min_value=0),
    column=st.integers(min_value=0),
    level=st.sampled_from(LEVELS),
    state=st.sampled_from(STATES),
)
checks = st.builds(
    CheckResult,
    id=texts,
    title=texts,
    status=st.sampled_from(Status),
    evidence=st.sampled_from(Evidence),
    reason=said,
    remedy=texts,
    measurements=st.lists(measurements, max_size=3).map(tuple),
    diagnostics=st.lists(places, max_size=3).map(tuple),
)
results = st.builds(
    SessionResult,
    id=texts,
    title=texts,
    checks=st.lists(checks, max_size=3).map(tuple),
    run_id=texts,
    started=texts,
    duration_s=st.floats(min_value=0, max_value=1e9),
    profile=texts,
    model=mappings,
    environment=mappings,
    git=mappings,
    schema=st.just(result.SCHEMA),
)


@given(results)
@settings(deadline=None)
def test_a_result_survives_its_json(given_result: SessionResult) -> None:
    """Whatever a session records is read back equal."""
    text = json.dumps(given_result.to_json(), allow_nan=False)
    assert SessionResult.from_json(json.loads(text)) == given_result


def test_a_result_survives_its_file(
    tmp_path: Path, make_result: Callable[..., SessionResult]
) -> None:
    """The file is named for the session and holds sorted JSON with the status."""
    written = make_result(GATE)
    path = result.write_result(tmp_path / "new" / "results", written)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"{GATE.id}.json"
    assert document["status"] == "PASS"
    assert list(document) == sorted(document)
    assert result.read_result(path) == written


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_refused(number: float) -> None:
    """NaN and infinity never become a value or a sample."""
    with pytest.raises(ResultError, match="not a finite number"):
        Measurement("load_s", number, "s")
    with pytest.raises(ResultError, match="not a finite number"):
        Measurement("load_s", 1.0, "s", samples=(1.0, number))


def test_an_unknown_unit_is_refused() -> None:
    """A unit that no reader knows is not recorded."""
    with pytest.raises(ResultError, match="unknown unit 'GiB'"):
        Measurement("peak", 1.0, "GiB")


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_check_without_a_reason_is_refused(reason: str) -> None:
    """A bare PASS proves nothing to a reader."""
    with pytest.raises(ResultError, match="reason is empty"):
        CheckResult("GATE1", "t", Status.PASS, Evidence.STATIC, reason)


def _document(make_result: Callable[..., SessionResult]) -> dict[str, Any]:
    check = CheckResult(
        "GATE1", "t", Status.PASS, Evidence.STATIC, "seen", "", (Measurement("a_s", 1.0, "s"),)
    )
    text = json.dumps(make_result(GATE, checks=(check,)).to_json())
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("schema",), 2, "schema 2, expected 1"),
        (("schema",), None, "schema None"),
        (("schema",), True, "schema True"),
        (("extra",), 1, "unknown key 'extra'"),
        (("status",), "FAIL", "contradicts its checks"),
        (("status",), None, "contradicts its checks"),
        (("checks",), {}, "checks is not a list"),
        (("checks",), [], "contradicts its checks"),
        (("checks", 0), 3, "check: expected an object, found int"),
        (("id",), 3, "id has the wrong type"),
        (("duration_s",), "1", "duration_s has the wrong type"),
        (("duration_s",), True, "duration_s has the wrong type"),
        (("model",), [], "model has the wrong type"),
        (("environment",), "x", "environment has the wrong type"),
        (("git",), None, "git has the wrong type"),
        (("checks", 0, "status"), "SKIPPED", "'SKIPPED' is not a valid Status"),
        (("checks", 0, "status"), True, "True is not a valid Status"),
        (("checks", 0, "evidence"), "guessed", "'guessed' is not a valid Evidence"),
        (("checks", 0, "reason"), " ", "reason is empty"),
        (("checks", 0, "waived"), True, "unknown key 'waived'"),
        (("checks", 0, "measurements"), "1 s", "measurements is not a list"),
        (("checks", 0, "measurements", 0, "unit"), "furlong", "unknown unit"),
        (("checks", 0, "measurements", 0, "unit"), [], "unit has the wrong type"),
        (("checks", 0, "measurements", 0, "value"), True, "neither number nor text"),
        (("checks", 0, "measurements", 0, "value"), None, "neither number nor text"),
        (("checks", 0, "measurements", 0, "limit"), 3, "limit has the wrong type"),
        (("checks", 0, "measurements", 0, "samples"), ["1"], "samples is not a list of numbers"),
    ],
)
def test_what_is_not_schema_1_is_refused(
    make_result: Callable[..., SessionResult], place: tuple[Any, ...], value: object, said: str
) -> None:
    """An unknown version, key, status, unit or type is an error that names it."""
    document = _document(make_result)
    spot: Any = document
    for step in place[:-1]:
        spot = spot[step]
    spot[place[-1]] = value
    with pytest.raises(ResultError, match=said):
        SessionResult.from_json(document)


@pytest.mark.parametrize("key", ["schema", "id", "checks", "run_id", "profile", "status"])
def test_a_missing_key_is_refused(make_result: Callable[..., SessionResult], key: str) -> None:
    """No field of a result has a silent default where it matters."""
    document = _document(make_result)
    del document[key]
    with pytest.raises(ResultError):
        SessionResult.from_json(document)


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_refused(document: object) -> None:
    """A JSON document of another kind is not a result."""
    with pytest.raises(ResultError, match="expected an object"):
        SessionResult.from_json(document)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"checks": [{"status": "FAIL", "status": "PASS"}]}',
    ],
    ids=[
        *("empty", "cut", "nan", "infinity", "overflow", "not utf-8", "deep", "long number"),
        "two answers",
    ],
)
def test_damaged_json_is_an_error(tmp_path: Path, raw: bytes) -> None:
    """Whatever bytes lie there, the reader answers with its own error."""
    path = tmp_path / "x.json"
    path.write_bytes(raw)
    with pytest.raises(ResultError, match="unreadable"):
        json_file.read_json(path)


def test_strictness_is_chosen_by_who_wrote_the_text() -> None:
    """Configs hold infinities, tokenizers a key twice; a bound of values precedes the parser."""
    assert json_file.parse_json('{"limit": [0.0, Infinity]}', finite=False) == {"limit": [0, inf]}
    assert json_file.parse_json(b'{"a": 1, "a": 2}', unique=False) == {"a": 2}
    with pytest.raises(ValueError, match="more than 2 JSON values"):
        json_file.parse_json("[1, 2, 3]", max_values=2)
    with pytest.raises(ValueError, match=r"the key '\\x1b' occurs twice"):
        json_file.parse_json('{"\\u001b": 1, "\\u001b": 2}')


def test_a_missing_folder_or_huge_file_is_an_error(tmp_path: Path) -> None:
    """A missing file, a folder and a file over the limit are refused unread."""
    big = tmp_path / "big.json"
    big.write_text("[1, 2, 3]", encoding="utf-8")
    with pytest.raises(ResultError, match="9 bytes, at most 8 are read"):
        json_file.read_json(big, limit_bytes=8)
    for path, said in ((tmp_path / "missing.json", "unreadable"), (tmp_path, "no regular file")):
        with pytest.raises(ResultError, match=said):
            json_file.read_json(path)


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe, or a link to a device, is refused at once."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zero.json"):
        with pytest.raises(ResultError, match="no regular file"):
            json_file.read_json(tmp_path / name)


def test_a_result_under_another_name_is_refused(
    tmp_path: Path, make_result: Callable[..., SessionResult]
) -> None:
    """A copied file does not answer for another session."""
    path = result.write_result(tmp_path, make_result(GATE))
    other = path.rename(tmp_path / "gate2-lint.json")
    with pytest.raises(ResultError, match="holds the result of 'gate1-format'"):
        result.read_result(other)


def test_removing_a_result(tmp_path: Path, make_result: Callable[..., SessionResult]) -> None:
    """A result can be removed, also when there is none; what cannot be removed is an error."""
    path = result.write_result(tmp_path, make_result(GATE))
    for _ in range(2):
        result.remove_result(tmp_path, GATE.id)
        assert not path.exists()
    path.mkdir()
    with pytest.raises(ResultError, match="cannot remove"):
        result.remove_result(tmp_path, GATE.id)


def test_a_path_below_a_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """Where no folder can be made, the writer says what to do."""
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(ResultError, match="cannot write") as caught:
        json_file.write_json(tmp_path / "file" / "x.json", {})
    assert "writable" in caught.value.hint


@pytest.mark.parametrize("document", [{"a": math.nan}, {"a": object()}, {"a": {1, 2}}])
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path, document: object) -> None:
    """A document that is refused does not touch the file that was there."""
    path = tmp_path / "x.json"
    json_file.write_json(path, {"old": 1})
    with pytest.raises(ResultError, match="cannot be written as JSON"):
        json_file.write_json(path, document)
    assert json_file.read_json(path) == {"old": 1}


def test_text_that_utf8_cannot_hold_is_an_error(tmp_path: Path) -> None:
    """A lone surrogate is refused and leaves neither file nor temporary file."""
    with pytest.raises(ResultError, match="cannot write"):
        json_file.write_text(tmp_path / "x.md", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_as_readable_as_the_user_wants(tmp_path: Path) -> None:
    """A new file obeys the umask, a replaced one keeps its permissions."""
    before = os.umask(0o027)
    try:
        json_file.write_text(tmp_path / "new.md", "x")
        (tmp_path / "tool.py").touch(0o750)
        json_file.write_text(tmp_path / "tool.py", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new.md").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "tool.py").stat().st_mode & 0o777 == 0o750


FULL = """
import resource, signal, sys
from pathlib import Path
from mlx_preflight.core import result
from mlx_preflight.core import json_file
from mlx_preflight.core.errors import ResultError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
try:
    json_file.write_json(Path(sys.argv[1]), ["x" * 100_000])
except ResultError as error:
    said = str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, before)
print(said)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """When the disk takes no more, the old file stays whole and nothing is left beside it."""
    path = tmp_path / "x.json"
    json_file.write_json(path, {"old": 1})
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot write" in done.stdout, done.stderr
    assert json_file.read_json(path) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_status_has_no_truth_value() -> None:
    """`if status:` raises instead of reading BLOCKED as true."""
    for status in Status:
        with pytest.raises(TypeError, match="no truth value"):
            bool(status)


def test_the_worst_status_decides() -> None:
    """FAIL beats ERROR beats BLOCKED beats PASS, and nothing at all is ERROR."""
    order = [Status.FAIL, Status.ERROR, Status.BLOCKED, Status.PASS]
    for n, status in enumerate(order):
        assert Status.worst(order[: n - 1 : -1] if n else order[::-1]) is status
    assert Status.worst([]) is Status.ERROR


def test_a_session_without_checks_is_an_error(make_result: Callable[..., SessionResult]) -> None:
    """No check is no pass."""
    assert dataclasses.replace(make_result(GATE), checks=()).status is Status.ERROR


@pytest.mark.parametrize(
    "change",
    [
        {"line": -1},
        {"line": True},
        {"column": "3"},
        {"message": None},
        {"level": "fatal"},
        {"state": "old"},
        {"why": "because"},
    ],
)
def test_a_hostile_diagnostic_is_refused(change: dict[str, Any]) -> None:
    """A place with a wrong type, an unknown word or a strange key is no place."""
    place = dataclasses.asdict(Diagnostic("ruff", "F401", "unused", "a.py", 1, 1))
    with pytest.raises(ResultError):
        SessionResult.from_json(with_places([{**place, **change}]))


def test_a_flood_of_diagnostics_is_refused() -> None:
    """More than any session writes cannot come from one."""
    place = dataclasses.asdict(Diagnostic("ruff", "F401", "unused"))
    assert SessionResult.from_json(with_places([place] * KEPT))
    with pytest.raises(ResultError, match="at most"):
        SessionResult.from_json(with_places([place] * (KEPT + 1)))


def with_places(places: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a result document whose check holds these diagnostics."""
    check = CheckResult("GATE2", "t", Status.FAIL, Evidence.STATIC, "seen")
    made = SessionResult("gate2-lint", "t", (check,), "r1", "now", 0.0, "embedded").to_json()
    document: dict[str, Any] = json.loads(json.dumps(made))
    document["checks"][0]["diagnostics"] = places
    return document
