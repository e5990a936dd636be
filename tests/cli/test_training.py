"""The command `data`: what it refuses, and what it writes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import ExitCode, UsageError
from mlx_preflight.models.catalog import EMBEDDED_ROWS
from tests.training import rows_of


def invoke(*arguments: str) -> tuple[int, str, BaseException | None]:
    """Run the command; return exit code, stdout and what it raised."""
    done = CliRunner().invoke(app, ["data", *arguments])
    return done.exit_code, done.stdout, done.exception


def test_rows_are_shown_on_a_terminal_only(tmp_path: Path) -> None:
    """--show is refused beside --json, and where stdout is no terminal."""
    for more in (("--json",), ()):
        _, text, error = invoke(str(tmp_path), "--model", "embedded", "--show", "1", *more)
        assert isinstance(error, UsageError)
        assert "terminal" in str(error)
        assert text == ""


def test_a_model_is_named(tmp_path: Path) -> None:
    """Without a model and a config nothing could be tokenized."""
    _, _, error = invoke(str(tmp_path))
    assert isinstance(error, UsageError)
    assert "no model is named" in str(error)


def test_data_are_judged_drawn_and_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good rows pass; the picture and the sorted copy are written, and hold the same rows."""
    monkeypatch.chdir(tmp_path)
    rows = rows_of.chats(40, most=60)
    data = rows_of.folder(tmp_path / "rows", {"train": rows, "valid": rows_of.chats(5, 9)})
    code, text, _ = invoke(
        *(str(data), "--model", "embedded", "--json"),
        *("--plot", "lengths.svg", "--sort", "sorted"),
    )
    assert code == 0
    result = json.loads(text)
    assert {check["status"] for check in result["checks"]} == {"PASS"}
    assert "judged before" not in text
    assert Path("lengths.svg").stat().st_size > 1000
    ordered = Path("sorted/train.jsonl").read_text("utf-8").splitlines()
    assert ordered != (data / "train.jsonl").read_text("utf-8").splitlines()
    assert sorted(ordered) == sorted((data / "train.jsonl").read_text("utf-8").splitlines())
    code, _, error = invoke(str(data), "--model", "embedded", "--sort", "sorted")
    assert "holds a train.jsonl already" in str(error)


@pytest.mark.slow
def test_pieces_of_a_row_are_shown_in_its_order(tmp_path: Path) -> None:
    """On a terminal masked tokens come first, then trained ones, then what the limit cuts."""
    terminal, end = pty.openpty()
    options = ["--model", "embedded", "--mask-prompt", "--max-seq-length", "40", "--show", "1"]
    command = [sys.executable, "-m", "mlx_preflight", "data", str(EMBEDDED_ROWS), *options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=end, stderr=subprocess.DEVNULL) as process:
        os.close(end)
        shown = b""
        # Linux ends the reading of a terminal without a writer by an error.
        with contextlib.suppress(OSError), os.fdopen(terminal, "rb", 0) as stream:
            while part := stream.read(65536):
                shown += part
    assert process.returncode == ExitCode.FAILED  # rows lose their answers at this limit
    text = shown.decode()
    order = [text.index(f"[{name}, ") for name in ("masked", "trained", "cut")]
    assert order == sorted(order)
