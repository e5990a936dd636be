"""The rows of a training run, in numbers: what mlx-lm would make of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, DataError
from mlx_preflight.models import catalog, hub_cache
from mlx_preflight.plan.profiles import EMBEDDED
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import data_file
from mlx_preflight.runtime.data_file import DataFile
from mlx_preflight.training import data_source, row_reading
from mlx_preflight.training.data_source import SPLITS, DataSource
from mlx_preflight.training.training_run import TrainingRun

ROW_S, TOKENIZER_S = 20.0, 120.0
"""Seconds that one row, and loading the tokenizer, may take; both take milliseconds to few
seconds."""

MEMORY_BYTES = 2_000_000_000
"""Memory that the rows of a run and one rendering may take in the child."""

READING = ("encoding", "locale", "bom", "blank", "json", "multi-line", "changed")
"""Kinds of places at which mlx-lm's loader fails to read a file."""

LOADING = (*READING, "mask-text", "tokenizer", "tokenizer-code", "slow", "memory")
"""Kinds of places after which no batch can be known."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one file, in numbers; each sequence has one entry per row.

    Attributes:
        path: The file.
        format: Name of mlx-lm's dataset class; empty where row 0 has no known format.
        line: Line in the file, from 1.
        keys: Keys of the raw row.
        tokens: Tokens, uncut; -1 where there are none.
        offset: First target that is trained.
        digest: Digest of the raw row.
        kept: Digest of what the length limit leaves of the row.
    """

    path: Path
    format: str
    line: tuple[int, ...]
    keys: tuple[int, ...]
    tokens: tuple[int, ...]
    offset: tuple[int, ...]
    digest: tuple[int, ...]
    kept: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.line)


@dataclass(frozen=True, slots=True)
class Place:
    """Place where something is wrong.

    Attributes:
        kind: What, one word.
        split: Whose file; empty where no file is to blame.
        line: Line, from 1; 0 where it is the file.
        detail: Safe words: a key, the name of an exception, a role.
    """

    kind: str
    split: str
    line: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a run.

    Attributes:
        folder: Where the files are.
        splits: Split → rows; a file that is missing is absent.
        tokenized: Splits that the run tokenizes.
        places: Where something is wrong, at most 1,000 of a kind and file.
        counts: Kind and split → how many there are.
        encoding: Encoding with which mlx-lm opens the files.
        files: Split → the file.
        cached: Whether an earlier reading was used.
        unread: Names of files or splits beside them that mlx-lm does not read.
    """

    folder: Path
    splits: Mapping[str, Split]
    tokenized: tuple[str, ...]
    places: tuple[Place, ...]
    counts: Mapping[tuple[str, str], int]
    encoding: str
    files: Mapping[str, DataFile]
    cached: bool
    unread: tuple[str, ...] = ()

    def of(self, *kinds: str) -> tuple[Place, ...]:
        """Return the places of these kinds."""
        return tuple(place for place in self.places if place.kind in kinds)

    def count(self, *kinds: str) -> int:
        """Return how many places of these kinds there are."""
        return sum(count for (kind, _), count in self.counts.items() if kind in kinds)

    @property
    def blocker(self) -> str:
        """Return why the trainer would not get to its first batch; empty where it would."""
        found = sorted({kind for kind, _ in self.counts if kind in LOADING})
        unknown = [name for name, split in self.splits.items() if len(split) and not split.format]
        empty = [name for name, split in self.splits.items() if not len(split)]
        if found:
            return f"the data do not load ({', '.join(found)})"
        if unknown or empty:
            what = "has no known format" if unknown else "is empty"
            return f"the data do not load ({(unknown or empty)[0]}.jsonl {what})"
        return ""

    def path(self, split: str) -> Path:
        """Return the file of a split."""
        return self.folder / f"{split}.jsonl"


def tokenizer_folder(run: TrainingRun) -> Path:
    """Return the folder with the tokenizer of the run's model; its weights may be absent.

    Raises:
        BlockedError: It is not on this machine.
    """
    name = str(run.settings["model"])
    folder = run.path("model")
    if folder.is_dir():
        return folder
    if name == EMBEDDED:
        return catalog.EMBEDDED_FOLDER
    if hub_cache.is_hub_id(name):
        with contextlib.suppress(LookupError):
            return hub_cache.find(name)
    raise BlockedError(
        f"the tokenizer of {name} is not on this machine",
        hint=f"mlx-preflight download {name}, or `hf download {name} --exclude '*.safetensors'`",
    )


def read_rows(context: Context, run: TrainingRun, model_folder: Path) -> Rows:
    """Tokenize the rows of a run with its model's tokenizer, or return the kept reading.

    Args:
        context: Context of the run.
        run: Settings of the run.
        model_folder: Folder with the tokenizer.

    Raises:
        DataError: The folder or one of its files cannot be read.
        ChildError: A row or its template takes too much memory or time.
    """
    source = data_source.find(run)
    folder = source.folder
    files = {
        split: data_file.scan(path)
        for split in SPLITS
        # A link to nothing is no file either, for mlx-lm.
        if (path := folder / f"{split}.jsonl").exists()
    }
    if not files:
        raise DataError(
            f"{folder}: no train.jsonl, valid.jsonl or test.jsonl",
            hint="name the folder that holds them, with --data",
        )
    job = _job(run, source, files, model_folder)
    answer, arrays, cached = row_reading.read(job, model_folder, context)
    return _rows(source, files, job["tokenized"], answer, arrays, cached=cached)


def view(run: TrainingRun, model_folder: Path, count: int, *, timeout_s: float) -> Any:
    """Return the first training rows in pieces: masked, trained and cut.

    It is content: print it on a terminal, and keep nothing of it.

    Raises:
        ChildError: The rows cannot be shown.
    """
    source = data_source.find(run)
    job = _job(run, source, {}, model_folder)
    path = source.folder / "train.jsonl"
    first = job["sections"].get("train", [[1, job["data"]]])[0][1]
    reply = child.call(
        "mlx_preflight.runtime.row_view",
        {**job, "data": first, "path": str(path), "count": count},
        timeout_s=timeout_s,
        label="the rows cannot be shown",
    )
    return reply.value


def _job(
    run: TrainingRun, source: DataSource, files: Mapping[str, DataFile], model: Path
) -> dict[str, Any]:
    settings = run.settings
    trains, tests = bool(settings["train"]), bool(settings["test"])
    wanted = {"train": trains, "valid": trains, "test": tests}
    limit = settings["max_seq_length"]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise BlockedError(
            f"max_seq_length is {limit!r}, which is no number of at least 1",
            hint="see run1-config",
        )
    return {
        "model": str(model),
        "data": data_source.settings(run),
        "sections": source.sections,
        "limit": limit,
        "tokenized": [split for split in SPLITS if wanted[split]],
        "files": {
            split: {
                "path": str(file.path),
                "sha256": file.sha256,
                "bad_line": file.bad_line,
                "wide_line": file.wide_line,
            }
            for split, file in files.items()
        },
        "row_s": ROW_S,
        "tokenizer_s": TOKENIZER_S,
        "memory_bytes": MEMORY_BYTES,
    }


def _rows(
    source: DataSource,
    files: Mapping[str, DataFile],
    tokenized: list[str],
    answer: Mapping[str, Any],
    arrays: Path,
    *,
    cached: bool,
) -> Rows:
    with np.load(arrays, allow_pickle=False) as columns:
        splits = {
            name: Split(
                source.folder / f"{name}.jsonl",
                found,
                *(
                    tuple(columns[f"{name}.{column}"].tolist())
                    for column in ("line", "keys", "tokens", "offset", "digest", "kept")
                ),
            )
            for name in SPLITS
            if (found := answer["splits"].get(name)) is not None
        }
    found = answer["findings"]
    places = (Place(p["kind"], p["split"], p["line"], p["detail"]) for p in found["places"])
    return Rows(
        folder=source.folder,
        splits=splits,
        unread=source.unread,
        tokenized=tuple(tokenized),
        places=tuple(places),
        counts={(kind, split): count for kind, split, count in found["counts"]},
        encoding=answer["encoding"],
        files=files,
        cached=cached,
    )
