"""Readings of training rows: what they hold, when they are kept, and files that are hostile."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import types
from pathlib import Path

import pytest
from mlx_lm.tuner.datasets import create_dataset
from mlx_lm.utils import load_tokenizer

from mlx_preflight.core.errors import DataError
from mlx_preflight.runtime import data_file
from mlx_preflight.selftest.injection.row_faults import TEMPLATE
from mlx_preflight.training import row_reading, rows
from mlx_preflight.training.training_run import read_run
from tests.training import rows_of


def read(project: Path, data: Path, *arguments: str, model: Path = rows_of.MODEL) -> rows.Rows:
    """Read the rows of a run."""
    context = rows_of.context(project, data, *arguments, model=model)
    return rows.read_rows(context, read_run(context), model)


def refused(project: Path, data: Path) -> str:
    """Return why the rows are refused; it must be said at once."""
    begin = time.perf_counter()
    with pytest.raises(DataError) as found:
        read(project, data)
    assert time.perf_counter() - begin < 5
    return str(found.value)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A train.jsonl that is a pipe is named, and nobody waits for its writer."""
    data = rows_of.folder(tmp_path / "data", {})
    os.mkfifo(data / "train.jsonl")
    assert refused(tmp_path, data) == f"{data}/train.jsonl: no regular file"


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A train.jsonl that is a folder is named."""
    (tmp_path / "data" / "train.jsonl").mkdir(parents=True)
    assert "train.jsonl: no regular file" in refused(tmp_path, tmp_path / "data")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """A data folder that is a file is named."""
    (tmp_path / "rows").write_text("")
    assert refused(tmp_path, tmp_path / "rows").endswith("rows: no folder")


def test_a_folder_without_rows(tmp_path: Path) -> None:
    """A folder without any of the three files is named, with their names."""
    assert "no train.jsonl, valid.jsonl or test.jsonl" in refused(tmp_path, tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """No permission; and, for root, a file whose first byte cannot be read."""
    data = rows_of.folder(tmp_path / "data", {"train": rows_of.chats(2)})
    (data / "train.jsonl").chmod(0)
    if os.access(data / "train.jsonl", os.R_OK):
        (data / "train.jsonl").unlink()
        (data / "train.jsonl").symlink_to("/proc/self/mem")
    said = refused(tmp_path, data)
    assert "Permission denied" in said or "Input/output error" in said


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    """Its digest would be of no state that it ever had."""
    data = rows_of.folder(tmp_path / "data", {"train": rows_of.chats(20_000)})
    over = threading.Event()

    def grow() -> None:
        with (data / "train.jsonl").open("a") as stream:
            while not over.wait(0.001):
                stream.write(rows_of.lines(rows_of.chats(1)))
                stream.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(DataError, match=r"train\.jsonl: it changes while it is read"):
            read(tmp_path, data)
    finally:
        over.set()
        writer.join()


def test_ten_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    """A file over the limit is refused by its size."""
    data = rows_of.folder(tmp_path / "data", {"train": ""})
    os.truncate(data / "train.jsonl", 10**10)
    assert "10 GB, at most 1 GB" in refused(tmp_path, data)


def test_a_row_of_a_hundred_megabytes(tmp_path: Path) -> None:
    """A row over the limit is refused with its line."""
    data = rows_of.folder(tmp_path / "data", {"train": rows_of.chats(2)})
    with (data / "train.jsonl").open("a") as stream:
        stream.write("x" * 10**8)
    assert "train.jsonl, line 3: a row of over 16,000,000 bytes" in refused(tmp_path, data)


def test_a_scan_finds_bytes_that_are_no_text(tmp_path: Path) -> None:
    """The scan names the first line that is no UTF-8, also at the end and between chunks."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"a\n" * 600_000 + "é".encode() + b"\n\xff\n")
    found = data_file.scan(path)
    assert (found.bad_line, found.wide_line) == (600_002, 600_001)
    path.write_bytes(b"a\n\xc3")
    assert data_file.scan(path).bad_line == 2
    path.write_bytes(b"x" * (data_file.CHUNK_BYTES - 1) + "é\n".encode())
    assert (data_file.scan(path).bad_line, data_file.scan(path).wide_line) == (0, 1)


@pytest.mark.slow
def test_tokens_and_offsets_are_those_of_the_dataset(tmp_path: Path) -> None:
    """Every row has the tokens, offset and keys of mlx-lm's dataset; a second look is kept."""
    made = [*rows_of.chats(5), rows_of.chat("a", "b", tools=[])]
    data = rows_of.folder(tmp_path / "data", {"train": made})
    found = read(tmp_path, data, "--mask-prompt")
    settings = types.SimpleNamespace(mask_prompt=True)
    dataset = create_dataset(made, load_tokenizer(rows_of.MODEL), settings)
    expected = [(len(tokens), offset) for tokens, offset in map(dataset.process, made)]
    train = found.splits["train"]
    assert list(zip(train.tokens, train.offset, strict=True)) == expected
    assert train.keys == (1, 1, 1, 1, 1, 2)
    assert (train.line, train.format) == ((1, 2, 3, 4, 5, 6), "ChatDataset")
    begin = time.perf_counter()
    again = read(tmp_path, data, "--mask-prompt")
    assert time.perf_counter() - begin < 1
    assert again == dataclasses.replace(found, cached=True)
    rows_of.folder(data, {"train": made[:5]})
    assert not read(tmp_path, data, "--mask-prompt").cached


@pytest.mark.slow
def test_a_locale_that_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an ASCII locale a letter beyond it is named with its line, plain rows are read."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    files = {"train": '{"text": "a"}\n{"text": "é"}\n', "valid": [{"text": "b"}]}
    found = read(tmp_path, rows_of.folder(tmp_path / "data", files))
    assert [(p.kind, p.split, p.line) for p in found.places] == [("locale", "train", 2)]
    assert len(found.splits["valid"]) == 1


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}" + TEMPLATE
GIGABYTES = "{{ 'x' * 90000000000 }}" + TEMPLATE
GROWTH = "{% for a in range(99999) %}{{ 'x' * 9000000 }}{% endfor %}" + TEMPLATE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "kind"), [(LOOP, "slow"), (GIGABYTES, "memory"), (GROWTH, "memory")]
)
def test_a_template_without_end(
    template: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that loops or prints gigabytes ends as a place, and no other row is tried."""
    monkeypatch.setattr(rows, "ROW_S", 3.0)
    monkeypatch.setattr(rows, "MEMORY_BYTES", 500_000_000)
    model = rows_of.model(tmp_path / "model", template, {}, {})
    data = rows_of.folder(tmp_path / "data", {"train": rows_of.chats(9), "valid": ""})
    found = read(tmp_path, data, model=model)
    assert [(p.kind, p.split, p.line) for p in found.places] == [(kind, "train", 1)]
    assert found.blocker


@pytest.mark.slow
def test_two_children_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and places of a file that is read in parts are those of one reading, in order."""
    text = rows_of.lines(rows_of.chats(30)).splitlines(keepends=True)
    text.insert(4, "\n")
    text.insert(9, '{"text": "a"}\n')
    data = rows_of.folder(tmp_path / "data", {"train": "".join(text), "valid": rows_of.chats(3)})
    whole = read(tmp_path / "a", data)
    monkeypatch.setattr(row_reading, "PART_BYTES", 0)
    assert read(tmp_path / "b", data) == whole
    assert [(p.kind, p.line) for p in whole.places] == [("blank", 5), ("format", 10)]
