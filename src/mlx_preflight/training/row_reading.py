"""Reading of rows in children, kept until one of its inputs changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import locale
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mlx_preflight.core import child
from mlx_preflight.core.errors import ChildError, ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import data_file

VERSION = 1
"""Version of what the child computes."""

PACKAGES = ("mlx-lm", "transformers", "tokenizers", "jinja2")
"""Distributions that decide how a row is tokenized."""

TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt")
"""Files of a model folder from which its tokenizer and template are made."""

KEPT_READINGS = 20
"""Readings that stay in the cache."""

PART_BYTES = 2_000_000
"""Bytes of rows from which a second child pays: starting one costs as much as 2,000 rows."""

MOST_PARTS = 2
"""Children that read side by side."""


def read(job: Mapping[str, Any], model: Path, context: Context) -> tuple[Any, Path, bool]:
    """Return the children's answer, the file with its columns, and whether it was kept.

    Args:
        job: What `runtime.training_data` asks for, without the places of its output.
        model: Folder with the tokenizer.
        context: Context of the run.

    Raises:
        ChildError: A row or its template takes too much memory or time.
    """
    cache, name = Workspace(context.state).cache / "rows", _key(job, model)
    stored, arrays = cache / f"{name}.json", cache / f"{name}.npz"
    if stored.is_file() and arrays.is_file():
        with contextlib.suppress(ResultError):
            return read_json(stored), arrays, True
    answer = _read(job, arrays, context)
    if not any(kind == "changed" for kind, _, _ in answer["findings"]["counts"]):
        write_json(stored, answer)
    _prune(cache)
    return answer, arrays, False


def _key(job: Mapping[str, Any], model: Path) -> str:
    """Return the digest of everything that decides the reading."""
    encoding = locale.getpreferredencoding(do_setlocale=False)
    digest = hashlib.sha256(json.dumps([VERSION, job, encoding], sort_keys=True).encode())
    for name in PACKAGES:
        digest.update(f"{name} {version(name)}\n".encode())
    names = {path for pattern in TOKENIZER_FILES for path in model.glob(pattern)}
    for path in sorted(names):
        digest.update(path.name.encode())
        if path.is_file() and path.stat().st_size <= data_file.MAX_FILE_BYTES:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _read(job: Mapping[str, Any], arrays: Path, context: Context) -> Any:
    """Let children read the rows, and show where they are."""
    size = sum(Path(file["path"]).stat().st_size for file in job["files"].values())
    parts = min(MOST_PARTS, os.cpu_count() or 1) if size > PART_BYTES else 1
    arrays.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preflight-") as scratch:
        progress = Path(scratch) / "0" / "progress"
        jobs = [_part(job, Path(scratch), part, parts) for part in range(parts)]
        try:
            with _shown(progress, context.note), child.side_by_side(parts) as pool:
                replies = [pool.submit(_call, one, context.settings.timeout_s) for one in jobs]
                answers = [reply.result() for reply in replies]
        except ChildError as error:
            at = progress.read_text(encoding="utf-8") if progress.is_file() else ""
            where = f" (after {at.replace(' ', '.jsonl, line ')})" if at else ""
            raise ChildError(f"{error}{where}", hint=error.hint, log=error.log) from error
        # Written here, not moved: the scratch may be on another disk.
        _join_columns([Path(one["arrays"]) for one in jobs], arrays)
    return _joined(answers)


def _part(job: Mapping[str, Any], scratch: Path, part: int, parts: int) -> dict[str, Any]:
    folder = scratch / str(part)
    folder.mkdir()
    made = {"arrays": str(folder / "rows.npz"), "progress": str(folder / "progress")}
    return {**job, **made, "part": part, "parts": parts, "folder": str(folder)}


def _call(job: Mapping[str, Any], timeout_s: float) -> Any:
    reply = child.call(
        "mlx_preflight.runtime.training_data",
        job,
        timeout_s=timeout_s,
        label="the rows were not read",
        folder=Path(job["folder"]),
    )
    return reply.value


def _joined(answers: Sequence[Any]) -> dict[str, Any]:
    """Return the answers of the parts as one; places in the order of the lines."""
    places = [place for answer in answers for place in answer["findings"]["places"]]
    counts: Counter[tuple[str, str]] = Counter()
    for answer in answers:
        counts.update({(k, split): count for k, split, count in answer["findings"]["counts"]})
    formats = {
        name: next((a["splits"][name] for a in answers if a["splits"][name]), "")
        for name in answers[0]["splits"]
    }
    return {
        "splits": formats,
        "encoding": answers[0]["encoding"],
        "findings": {
            "places": sorted(places, key=lambda place: place["line"]),
            "counts": [[kind, split, count] for (kind, split), count in sorted(counts.items())],
        },
    }


def _join_columns(made: Sequence[Path], target: Path) -> None:
    """Write the columns of all parts to one file, in the order of the lines."""
    parts = [np.load(path, allow_pickle=False) for path in made]
    joined: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0].files
    }
    for name in {column.partition(".")[0] for column in joined}:
        order = np.argsort(joined[f"{name}.line"], kind="stable")
        for column in joined:
            if column.startswith(f"{name}."):
                joined[column] = joined[column][order]
    temporary = target.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.savez(stream, **joined)
    temporary.replace(target)


@contextlib.contextmanager
def _shown(progress: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Note the first child's place every few seconds."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(3.0):
            with contextlib.suppress(OSError, ValueError):
                split, line = progress.read_text(encoding="utf-8").split()
                note(f"tokenizing {split}.jsonl: line {int(line):,}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _prune(cache: Path) -> None:
    """Remove all but the last readings."""
    found = sorted(cache.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT_READINGS:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
