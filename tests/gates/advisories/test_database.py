"""The advisory database finds what concerns a version, and refuses what it cannot read."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_preflight.core.errors import AdvisoryError
from mlx_preflight.gates.advisories import database
from mlx_preflight.gates.advisories.database import Database
from tests.gates import osv

if TYPE_CHECKING:
    from pathlib import Path

Event = dict[str, str]


def about() -> dict[str, Any]:
    """Return what an advisory says of its package."""
    return {"package": {"name": "Some.Package", "ecosystem": "PyPI"}}


def record(*events: Event, versions: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """Return an advisory about ranges and listed versions of a package."""
    span = {"type": "ECOSYSTEM", "events": list(events)}
    affected = [{**about(), "ranges": [span], "versions": list(versions)}]
    return {"id": "X-1", "modified": "2024-01-01T00:00:00Z", "affected": affected, **fields}


def hit(version: str, *events: Event, **fields: Any) -> bool:
    """Return whether a version is affected."""
    return bool(Database([record(*events, **fields)], "t").affecting("some-package", version))


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0", False), ("1.2", True), ("1.2.9", True), ("1.3", False), ("2.0", True), ("2.5", True)],
)
def test_events_open_and_close_a_range(version: str, affected: bool) -> None:
    """A version is affected from `introduced` on and before `fixed`, in every span."""
    events = ({"fixed": "1.3"}, {"introduced": "1.2"}, {"introduced": "2.0"})
    assert hit(version, *events) is affected


def test_the_last_affected_version_is_affected() -> None:
    """`last_affected` includes its version, `fixed` does not."""
    span = ({"introduced": "0"}, {"last_affected": "1.5"})
    assert hit("1.5", *span)
    assert not hit("1.5.1", *span)


def test_zero_comes_before_everything() -> None:
    """OSV's `0` is before pre-releases of the first version."""
    assert hit("0.0.dev1", {"introduced": "0"}, {"fixed": "1"})
    assert hit("0.0a1", {"introduced": "0"}, {"fixed": "1"})


def test_listed_versions_count_in_any_spelling() -> None:
    """`1.0` and `1.0.0` are one version; the name is normalised, too."""
    assert hit("1.0", versions=("1.0.0",))
    assert not hit("1.1", versions=("1.0.0",))


def test_what_cannot_be_compared_counts_as_affected() -> None:
    """Neither an odd bound nor an odd version is an all-clear."""
    assert hit("1.0", {"introduced": "not a version"})
    assert hit("odd-version", {"introduced": "0"}, {"fixed": "0.1"})


def test_other_ecosystems_and_withdrawn_ones_do_not_count() -> None:
    """A package of the same name elsewhere is another package."""
    other = record({"introduced": "0"})
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert not Database([other], "t").affecting("some-package", "1")
    assert not hit("1", {"introduced": "0"}, withdrawn="2024-01-02T00:00:00Z")
    git = record()
    git["affected"][0]["ranges"] = [{"type": "GIT", "events": [{"introduced": "0"}]}]
    assert not Database([git], "t").affecting("some-package", "1")


def test_the_date_is_the_newest_that_is_not_in_the_future() -> None:
    """A date far ahead must not keep an old database fresh."""
    ahead = {**record(), "id": "X-2", "modified": "2999-01-01T00:00:00Z"}
    found = Database([record(), ahead], "t").age
    assert found.date == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert found.count == 2
    assert Database([ahead], "t").age.age_days(osv.TODAY) > 100_000


def test_zip_and_folder_hold_the_same(tmp_path: Path) -> None:
    """Documents are found in sub-folders of both; other files are left alone."""
    text = json.dumps(record({"introduced": "0"}))
    (tmp_path / "folder" / "PyPI").mkdir(parents=True)
    (tmp_path / "folder" / "PyPI" / "X-1.json").write_text(text)
    (tmp_path / "folder" / "README.md").write_text("words")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PyPI/X-1.json", text)
    for name in ("folder", "all.zip"):
        found = Database.open(tmp_path / name)
        assert found.record("X-1") is not None
        assert found.knows("Some_Package")
        assert not found.knows("another")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected an OSV record"),
        ('{"modified": "2024-01-01T00:00:00Z"}', "without an id"),
        ('{"id": "X-1"}', "no OSV record"),
        ('{"id": "X-1", "modified": "yesterday"}', "no OSV record"),
        ('{"id": "X-1", "modified": "2024-01-01", "affected": [{}]}', "no OSV record"),
        ('{"id": "X-1", "modified": "2024-01-01", "affected": 3}', "no OSV record"),
        (json.dumps(record() | {"affected": [{**about(), "ranges": [{}]}]}), "no OSV record"),
    ],
)
def test_one_bad_document_spoils_the_database(tmp_path: Path, text: str, words: str) -> None:
    """It may be the one that matters, so the file is named."""
    (tmp_path / "bad.json").write_text(text)
    (tmp_path / "good.json").write_text(json.dumps(record()))
    with pytest.raises(AdvisoryError, match=words):
        Database.open(tmp_path)


def test_no_database_is_an_error(tmp_path: Path) -> None:
    """Nothing there, an empty folder, and a file that is no zip."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("no-such", "file", "empty"):
        with pytest.raises(AdvisoryError):
            Database.open(tmp_path / name)


def test_an_enormous_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip's claim of a small size is not believed."""
    monkeypatch.setattr(database, "MAX_RECORD_BYTES", 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.json").write_text(" " * 101)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("one.json", " " * 101)
    for name in ("folder", "all.zip"):
        with pytest.raises(AdvisoryError, match="100"):
            Database.open(tmp_path / name)


@pytest.mark.slow
@given(st.tuples(*[st.integers(0, 4)] * 3), st.tuples(*[st.integers(0, 4)] * 3))
def test_a_range_agrees_with_comparison(version: tuple[int, ...], fixed: tuple[int, ...]) -> None:
    """Every version before the fixed one is affected, and no other."""
    text, bound = (".".join(map(str, item)) for item in (version, fixed))
    assert hit(text, {"introduced": "0"}, {"fixed": bound}) is (version < fixed)
