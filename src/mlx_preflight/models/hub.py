"""Download of a model from the hub; nothing counts before size and digest agree.

The real client downloads (resume, retries, cache); this module pins the revision before,
checks the free disk, and afterwards compares every file with the repository's own listing,
because a cached snapshot may be partial or damaged. Pickles and code are never fetched.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Only the package: its names take 0.3 s, which it loads where one is used.
import huggingface_hub
from huggingface_hub import constants

from mlx_preflight.core.errors import BlockedError, CheckpointError, UsageError
from mlx_preflight.core.text import redact
from mlx_preflight.core.units import format_bytes
from mlx_preflight.models import hub_cache

SPARE_BYTES = 500_000_000
"""Disk that must stay free after the download."""

MORE_DISK = "free disk space, or export HF_HOME=/a/larger/disk"

CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the repository declares it.

    Attributes:
        size: Bytes.
        sha256: Digest of the content for large files (LFS), else None.
        blob: Git's SHA-1 of the header `blob SIZE`, a zero byte, and the content.
    """

    name: str
    size: int
    sha256: str | None
    blob: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A downloaded and verified snapshot.

    Attributes:
        model: What names it from now on, such as for `--model`.
        revision: Commit that was asked for and is pinned.
        total_bytes: Sum over `files`.
    """

    model: str
    revision: str
    folder: Path
    files: tuple[str, ...]
    total_bytes: int


def listing(
    repo: str, revision: str | None, *, api: huggingface_hub.HfApi
) -> tuple[str, tuple[RemoteFile, ...]]:
    """Return the pinned commit and the wanted files of a repository.

    Raises:
        BlockedError: The hub cannot be reached, refuses, or has no such model or revision.
        CheckpointError: The repository has no safetensors weights.
    """
    try:
        commit = api.model_info(repo, revision=revision).sha
        entries = list(api.list_repo_tree(repo, revision=commit, recursive=True))
    except Exception as error:  # the client's errors have no common base
        raise refused(repo, revision, error) from error
    files = tuple(
        RemoteFile(
            entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, str(entry.blob_id)
        )
        for entry in entries
        if isinstance(entry, huggingface_hub.RepoFile) and _wanted(entry.path)
    )
    if commit is None or not any(item.name.endswith(".safetensors") for item in files):
        raise CheckpointError(
            f"{repo} at {commit}: no safetensors weights among {len(entries)} files",
            hint="use a repository with *.safetensors; pickle weights are never opened",
        )
    return commit, files


def download(
    repo: str,
    *,
    revision: str | None = None,
    cache: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Download a model, resuming what is there, and verify every file.

    Args:
        repo: Hub id such as `Qwen/Qwen2.5-Coder-7B-Instruct`.
        revision: Branch, tag or commit; pinned to its commit before anything is fetched.
        cache: Hub cache; None takes the client's own.
        note: Called with one line per step.

    Raises:
        UsageError: Not a hub id.
        BlockedError: Hub, network, permission or disk is in the way; the hint says which.
        CheckpointError: A file differs from the repository's listing. It was removed from
            the cache, so the next download fetches it again.
    """
    from huggingface_hub.utils._validators import validate_repo_id  # noqa: PLC0415  (0.3 s)

    try:
        validate_repo_id(repo)
    except ValueError as error:
        raise UsageError(f"{repo!r} is not a hub id like 'owner/name': {error}") from error
    commit, files = listing(repo, revision, api=huggingface_hub.HfApi())
    total = sum(item.size for item in files)
    note(f"{repo} at {commit[:12]}: {len(files)} files, {format_bytes(total)}")
    _check_disk(total, cache)
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repo,
                revision=commit,
                cache_dir=cache,
                allow_patterns=[item.name for item in files],
                max_workers=4,
            )
        )
    except Exception as error:  # the client's errors have no common base
        raise refused(repo, revision, error) from error
    note("comparing every file with the repository's listing")
    verify(folder, files)
    hub_cache.point(folder, revision or hub_cache.MAIN)
    named = f"{repo}@{revision}" if revision else repo
    return Snapshot(named, commit, folder, tuple(item.name for item in files), total)


def verify(folder: Path, files: Sequence[RemoteFile]) -> None:
    """Compare a snapshot with the repository's listing: names, sizes, digests.

    Raises:
        CheckpointError: A file is missing or differs; a differing one is removed together
            with its cached blob.
    """
    wrong = []
    for item in files:
        path = folder / item.name
        if not path.is_file():
            wrong.append(f"{item.name} is missing")
            continue
        size = path.stat().st_size
        if size != item.size:
            wrong.append(f"{item.name} has {size} bytes, expected {item.size}")
        elif _digest(path, item) != (item.sha256 or item.blob):
            wrong.append(f"{item.name} has another digest than the repository names")
        else:
            continue
        _remove(path)
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} of {len(files)} files are not what the repository lists: "
            + "; ".join(wrong[:3]),
            hint="download again: the files named were removed from the cache",
        )


def refused(repo: str, revision: str | None, error: Exception) -> BlockedError:
    """Return what stands in the way, with the step that removes it."""
    name = type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None)
    hints: dict[Any, str] = {
        "GatedRepoError": f"ask for access on {repo}'s page, then `hf auth login`",
        "RepositoryNotFoundError": "check the spelling of owner/name, or `hf auth login`",
        "RevisionNotFoundError": f"{revision!r} is no branch, tag or commit of {repo}",
        "RemoteEntryNotFoundError": "try again later: the hub lists a file that it does not hold",
        "OfflineModeIsEnabled": "unset HF_HUB_OFFLINE",
        errno.ENOSPC: f"{MORE_DISK}, then download again",
        401: "`hf auth login`",
        403: f"ask for access on {repo}'s page",
        429: "wait a few minutes: the hub limits requests",
    }
    number = getattr(error, "errno", None)
    hint = (
        hints.get(name)
        or hints.get(status)
        or hints.get(number)
        or "check the connection and try again: it resumes"
    )
    line = (str(error).strip().splitlines() or ["no message"])[0]
    shown = f" (HTTP {status})" if status else ""
    return BlockedError(f"{repo}: {name}{shown}: {redact(line)}", hint=hint)


def _wanted(name: str) -> bool:
    inside = "/" not in name and not name.startswith(".")
    return inside and any(fnmatch.fnmatchcase(name, pattern) for pattern in hub_cache.WANTED)


def _check_disk(total: int, cache: Path | None) -> None:
    folder = Path(cache or constants.HF_HUB_CACHE).expanduser()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < total + SPARE_BYTES:
        raise BlockedError(
            f"{format_bytes(total)} to download and {format_bytes(SPARE_BYTES)} to spare, "
            f"{format_bytes(free)} free at {folder}",
            hint=MORE_DISK,
        )


def _digest(path: Path, item: RemoteFile) -> str:
    if item.sha256:
        digest = hashlib.sha256()
    else:
        # Git names small files by SHA-1; it identifies, it does not protect.
        digest = hashlib.sha1(f"blob {item.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    """Remove a snapshot's file and the blob it links to, never anything outside the cache."""
    blob = Path(os.path.realpath(path))
    path.unlink(missing_ok=True)
    if blob.parent == Path(os.path.realpath(path.parent.parent.parent / "blobs")):
        blob.unlink(missing_ok=True)
