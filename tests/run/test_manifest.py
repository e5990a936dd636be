"""The manifest of a run is read back whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.run import manifest
from mlx_preflight.run.manifest import Manifest

RUN = Manifest(
    run_id="run-1",
    group="gates",
    planned=("gate1-format", "gate2-lint"),
    started="2026-01-02T03:04:05+00:00",
    profile="embedded",
    model="embedded",
    git={"commit": "c0ffee", "dirty": False},
)


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    """What was planned is read back equal, also over an older manifest."""
    manifest.write(tmp_path / "new", Manifest("run-0", "ac", (), "t", "p", "m"))
    manifest.write(tmp_path / "new", RUN)
    assert manifest.read(tmp_path / "new") == RUN


def test_no_manifest_is_none(tmp_path: Path) -> None:
    """Before the first run there is none, and that is no error."""
    assert manifest.read(tmp_path) is None
    assert manifest.read(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "not a run manifest of schema 1"),
        ({"extra": 1}, "unknown or missing key 'extra'"),
        ({"planned": "gate1-format"}, "planned is not a list"),
        ({"planned": [1]}, "planned is not a list"),
        ({"run_id": ""}, "run_id is not text, or empty"),
        ({"group": None}, "group is not text, or empty"),
        ({"model": 3}, "model is not text, or empty"),
        ({"git": []}, "git is not an object"),
    ],
)
def test_a_malformed_manifest_is_an_error(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """A manifest that cannot be trusted plans nothing; the hint says what to do."""
    manifest.write(tmp_path, RUN)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(ResultError, match=said) as caught:
        manifest.read(tmp_path)
    assert "run `nox` again" in caught.value.hint


@pytest.mark.parametrize("key", ["planned", "run_id", "git"])
def test_a_missing_key_is_an_error(tmp_path: Path, key: str) -> None:
    """No key has a silent default when it is read."""
    manifest.write(tmp_path, RUN)
    path = tmp_path / "run.json"
    document = json.loads(path.read_text("utf-8"))
    del document[key]
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(ResultError, match=f"unknown or missing key '{key}'"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("raw", ["", "[]", "{", "null"])
def test_a_damaged_manifest_is_an_error(tmp_path: Path, raw: str) -> None:
    """What is not an object of JSON is an error, never an absent manifest."""
    (tmp_path / "run.json").write_text(raw, encoding="utf-8")
    with pytest.raises(ResultError):
        manifest.read(tmp_path)


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    """Something that is there and no file is not absence."""
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ResultError, match="no regular file"):
        manifest.read(tmp_path)
