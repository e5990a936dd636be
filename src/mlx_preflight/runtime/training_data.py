"""Child that tokenizes training rows with mlx-lm's own classes: `python -m … JOB ANSWER`.

Rows and templates are untrusted: the child bounds the memory and the time of a row, and what
it answers are places, counts and digests, never content.
"""

from __future__ import annotations

import io
import json
import locale
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from mlx_lm.tuner.datasets import create_dataset
from mlx_lm.utils import load_config, load_tokenizer

from mlx_preflight.core.child_main import run_job
from mlx_preflight.runtime import data_file, row_limits
from mlx_preflight.runtime.foreign import attempt
from mlx_preflight.runtime.training_row import COLUMNS, RowReader, TrainingRow, short_digest

KEPT = 1000
"""Places of one kind that a file reports; all of them are counted."""

PROGRESS_S = 1.0

NOTHING = object()
"""Value of a line that holds none."""

OPENINGS = ("{", "[", "[{")
"""First lines of JSON that was written over several lines."""


@dataclass(slots=True)
class Findings:
    """Places where something is wrong, by kind."""

    places: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, split: str, line: int, detail: str = "", other: int = 0) -> None:
        """Add one; `other` is a number that belongs to it, such as another line."""
        self.counts[kind, split] += 1
        if self.counts[kind, split] <= KEPT:
            place = {"kind": kind, "split": split, "line": line, "detail": detail, "other": other}
            self.places.append(place)

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON data."""
        counts = [[kind, split, count] for (kind, split), count in sorted(self.counts.items())]
        return {"places": self.places, "counts": counts}


def read(job: Mapping[str, Any]) -> dict[str, Any]:
    """Read every split, write its columns to `job["arrays"]`, and return what was found.

    Args:
        job: `files` (split → path, sha256, bad_line, wide_line), `model` (folder of the
            tokenizer), `data` (settings that mlx-lm's datasets read), `sections` (split → first
            line and such settings of each part, where a file joins sets), `limit` (max_seq_length),
            `tokenized` (splits that the run tokenizes), `row_s`, `tokenizer_s`,
            `memory_bytes`, `arrays` and `progress` (files to write), `part` of `parts`.
    """
    found = Findings()
    reader = _reader(job, found if job["part"] == 0 else Findings())
    columns: dict[str, Any] = {}
    splits: dict[str, str] = {}
    with row_limits.memory(job["memory_bytes"]):
        for split, file in job["files"].items():
            active = reader if split in job["tokenized"] else None
            rows, splits[split] = _read_split(split, file, active, job, found)
            for name in COLUMNS:
                dtype = np.uint64 if name in {"digest", "kept"} else np.int64
                values = [getattr(row, name) for row in rows]
                columns[f"{split}.{name}"] = np.array(values, dtype=dtype)
    with Path(job["arrays"]).open("wb") as stream:
        np.savez(stream, **columns)
    return {"splits": splits, "findings": found.to_json(), "encoding": encoding()}


def encoding() -> str:
    """Return the encoding with which mlx-lm opens the files here."""
    return "utf-8" if sys.flags.utf8_mode else locale.getpreferredencoding(do_setlocale=False)


def _reader(job: Mapping[str, Any], found: Findings) -> RowReader | None:
    """Return the reader of rows; None where the tokenizer does not load."""
    folder = Path(job["model"])
    settings = types.SimpleNamespace(**job["data"])

    def load() -> Any:
        ends = load_config(folder).get("eos_token_id")
        with row_limits.seconds(job["tokenizer_s"]):
            return load_tokenizer(folder, {"trust_remote_code": False}, eos_token_ids=ends)

    tokenizer = attempt(load)
    if isinstance(tokenizer, Exception):
        code = "trust_remote_code" in str(tokenizer)
        found.add("tokenizer-code" if code else "tokenizer", "", 0, type(tokenizer).__name__)
        return None
    return RowReader(tokenizer, settings, job["limit"])


def _read_split(
    split: str,
    file: Mapping[str, Any],
    reader: RowReader | None,
    job: Mapping[str, Any],
    found: Findings,
) -> tuple[list[TrainingRow], str]:
    """Return the rows of a file, and its format."""
    rows: list[TrainingRow] = []
    dataset: Any = None
    formats: set[str] = set()
    sections = dict(job["sections"].get(split, [(1, job["data"])]))
    settings: Mapping[str, Any] = job["data"]
    told = 0.0
    quiet = Findings()
    part, parts = job["part"], job["parts"]
    with data_file.open_regular(Path(file["path"])) as raw:
        for line, text in _lines(split, raw, file, found if part == 0 else quiet):
            mine = line % parts == part
            # Every part needs the first row of each set, which decides the format.
            if line in sections:
                dataset, settings = None, sections[line]
            if not mine and dataset is not None:
                continue
            places = found if mine else quiet
            value = _value(split, line, text, places)
            if value is NOTHING:
                continue
            if dataset is None:
                dataset = _dataset(value, split, line, reader, settings, places)
                formats |= {type(dataset).__name__} if dataset else set()
            if not mine:
                continue
            row, problems = _row(dataset, value, line, reader, job["row_s"])
            rows.append(row)
            for kind, detail in problems:
                found.add(kind, split, line, detail)
            # The next one would cost as much; what is not tokenized stays so.
            if {kind for kind, _ in problems} & {"slow", "memory"}:
                reader = None
            told = _tell(job, split, line, told)
    if part == 0 and data_file.scan(Path(file["path"])).sha256 != file["sha256"]:
        found.add("changed", split, 0)
    return rows, ", ".join(sorted(formats))


def _tell(job: Mapping[str, Any], split: str, line: int, told: float) -> float:
    """Write where the reading is, every second; return when that was last done."""
    now = time.monotonic()
    if now - told <= PROGRESS_S:
        return told
    Path(job["progress"]).write_text(f"{split} {line}", encoding="utf-8")
    return now


def _row(
    dataset: Any, value: Any, line: int, reader: RowReader | None, limit_s: float
) -> tuple[TrainingRow, list[tuple[str, str]]]:
    """Return a row in numbers, and its problems."""
    digest = short_digest(json.dumps(value, sort_keys=True).encode())
    row = TrainingRow(line, len(value) if hasattr(value, "__len__") else 0, digest=digest)
    if reader is None or not dataset:
        return row, []
    try:
        with row_limits.seconds(limit_s):
            return row, reader.read(dataset, value, row)
    except row_limits.RowTimeoutError:
        return row, [("slow", "")]


def _dataset(
    first: Any,
    split: str,
    line: int,
    reader: RowReader | None,
    settings: Mapping[str, Any],
    found: Findings,
) -> Any:
    """Return mlx-lm's dataset of the first row's format; False where it refuses the row."""
    names = types.SimpleNamespace(**settings)
    try:
        return create_dataset([first], None if reader is None else reader.tokenizer, names)
    except (ValueError, TypeError, KeyError) as error:
        masked = isinstance(error, ValueError) and "mask" in str(error).lower()
        found.add("mask-text" if masked else "format", split, line, type(error).__name__)
        return False


def _lines(
    split: str, raw: IO[bytes], file: Mapping[str, Any], found: Findings
) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line, as mlx-lm's loader gets them."""
    name = encoding()
    if name.lower().replace("-", "") != "utf8":
        if file["wide_line"]:
            found.add("locale", split, file["wide_line"], name)
            return
    elif file["bad_line"]:
        found.add("encoding", split, file["bad_line"])
        return
    for line, text in enumerate(io.TextIOWrapper(raw, encoding=name), 1):
        yield line, text
        if line == 1 and text.strip() in OPENINGS:
            return


def _value(split: str, line: int, text: str, found: Findings) -> Any:
    """Return the value of a line, or `NOTHING`."""
    if line == 1 and text.startswith("\ufeff"):
        found.add("bom", split, line)
        text = text[1:]
    if not text.strip():
        found.add("blank", split, line)
        return NOTHING
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        spread = line == 1 and text.strip() in OPENINGS
        found.add("multi-line" if spread else "json", split, line)
        return NOTHING


if __name__ == "__main__":
    sys.exit(run_job(read, sys.argv[1:]))
