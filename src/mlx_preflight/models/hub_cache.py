"""Snapshots in the local cache of the hub's client: found and named, never downloaded."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub

from mlx_preflight.core.errors import UsageError

MAIN = "main"
"""Branch that a hub id without a revision means."""

HINT = "name the folder that holds config.json, or a hub id, with --model"
"""Advice where a name is neither."""

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
