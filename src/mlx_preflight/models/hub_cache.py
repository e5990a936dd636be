"""Snapshots in the local cache of the hub's client: found and named, never downloaded."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub

from mlx_preflight.core.errors import UsageError

MAIN = "main"
"""Branch that a hub id without a revision means."""

HINT = "name the folder that holds config.json, or a hub id, with --model"
"""Advice where a name is neither."""

CHUNK_BYTES = 4 * 1024 * 1024

_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

WANTED = (
    "*.json",
    "*.safetensors",
    "tokenizer.model",
    "*.tiktoken",
    "*.jinja",
    "merges.txt",
    "vocab.txt",
    "README.md",
    "LICENSE*",
)
"""Files that mlx_lm may read, and the model card; no pickle (*.bin, *.pt) and no *.py."""


def is_hub_id(model: str) -> bool:
    """Return whether a name has the form `owner/name` or `owner/name@revision`."""
    repo, _, _ = model.partition("@")
    return not model.startswith((".", "/", "~")) and repo.count("/") == 1


def split(model: str) -> tuple[str, str]:
    """Return repository and revision of a hub id; without one it is `MAIN`."""
    repo, _, revision = model.partition("@")
    return repo, revision or MAIN


def find(model: str) -> Path:
    """Return the folder of a model's snapshot in the cache.

    Args:
        model: `owner/name`, or `owner/name@revision` for a branch, tag or commit.

    Raises:
        UsageError: Not a hub id.
        LookupError: It is not in the cache. Whether all of it is there, only the checkpoint's
            own index can tell.
    """
    repo, revision = split(model)
    try:
        config = huggingface_hub.try_to_load_from_cache(repo, "config.json", revision=revision)
    except huggingface_hub.errors.HFValidationError as error:
        raise UsageError(f"model {model!r}: no such folder, and {error}", hint=HINT) from error
    # Neither a path: None, or a mark that the hub said that there is no such file.
    folder = Path(config).parent if isinstance(config, str) else None
    if folder is None:
        raise LookupError(f"{model} is not in the hub cache")
    return folder


def is_snapshot(folder: Path) -> bool:
    """Return whether a folder is a snapshot of the cache, whose files are links to blobs."""
    return folder.parent.name == "snapshots"


def damaged(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Return which files of a snapshot are not what their blobs' names promise.

    The client names a blob by the hub's ETag: a large file's SHA-256, else Git's SHA-1 (or a
    mirror's SHA-1 of the content). A name of any other form promises nothing.

    Args:
        folder: A snapshot of the cache.
        digests: SHA-256 of its files by name.
    """
    wrong = []
    for name, sha256 in digests.items():
        blob = Path(os.path.realpath(folder / name))
        if blob.parent.name != "blobs" or not _DIGEST.fullmatch(blob.name):
            continue
        known = {sha256} if len(blob.name) == len(sha256) else _sha1s(blob)
        if blob.name not in known:
            wrong.append(f"{name}: its content is not that of its blob {blob.name[:12]}")
    return wrong


def _sha1s(path: Path) -> set[str]:
    """Return the SHA-1 of a file as Git names it, and of its content alone."""
    begins = (f"blob {path.stat().st_size}\0".encode(), b"")
    found = [hashlib.sha1(begin, usedforsecurity=False) for begin in begins]
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            for digest in found:
                digest.update(chunk)
    return {digest.hexdigest() for digest in found}


def point(folder: Path, revision: str) -> None:
    """Make a revision name a snapshot, as the client does when it is asked for the revision.

    The client writes no reference when it is asked for a commit, and would not find the
    snapshot by its name later.

    Args:
        folder: A snapshot of the cache, `.../snapshots/COMMIT`.
        revision: Branch or tag; a commit needs no reference.
    """
    refs = folder.parent.parent / "refs"
    target = refs / revision
    if revision == folder.name or not target.resolve().is_relative_to(refs.resolve()):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(folder.name, encoding="utf-8")
