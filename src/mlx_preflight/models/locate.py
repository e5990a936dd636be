"""Models on this machine, and the prompts that belong to them; nothing is downloaded."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.constants import HF_HUB_CACHE

from mlx_preflight.core.errors import BlockedError, UsageError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.units import format_bytes
from mlx_preflight.models import catalog, hub_cache
from mlx_preflight.plan.profiles import EMBEDDED, SYNTHETIC_PREFIX


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Location of a model.

    Attributes:
        requested: As named on the command line or in the profile.
        path: Folder with config, tokenizer and weights.
        source: Kind of place.
        revision: Commit of the hub snapshot; None elsewhere.
    """

    requested: str
    path: Path
    source: Literal["embedded", "synthetic", "folder", "hub cache"]
    revision: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return the facts that a result file stores about the model."""
        return {"path": str(self.path), "source": self.source, "revision": self.revision}


def resolve(model: str) -> ResolvedModel:
    """Find a model on this machine.

    Args:
        model: `embedded`, a folder, a hub id such as `Qwen/Qwen2.5-Coder-7B-Instruct`, also
            with `@revision`, or `synthetic:` and a built-in name.

    Raises:
        UsageError: Neither a folder nor a hub id.
        BlockedError: A hub model whose weights are not here; the hint is the command.
    """
    if model == EMBEDDED:
        if not (catalog.EMBEDDED_FOLDER / "config.json").is_file():
            raise BlockedError(
                "the embedded model is not in this installation", hint="install the package again"
            )
        return ResolvedModel(model, catalog.EMBEDDED_FOLDER, "embedded")
    if model.startswith(SYNTHETIC_PREFIX):
        return _synthetic(model)
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return ResolvedModel(model, folder.resolve(), "folder")
    if not hub_cache.is_hub_id(model):
        raise UsageError(
            f"model {model!r}: no such folder, and not a hub id like 'owner/name'",
            hint=hub_cache.HINT,
        )
    path = _cached(model)
    if not any(path.glob("*.safetensors")):
        raise missing(model)
    return ResolvedModel(model, path, "hub cache", path.name)


def _synthetic(model: str) -> ResolvedModel:
    """Return the random weights of a known model's shapes, if they were made."""
    found = catalog.find_synthetic(model)
    folder = catalog.synthetic_folder(found)
    if not (folder / "config.json").is_file():
        size = catalog.synthetic_size_bytes(found)
        raise BlockedError(
            f"the random weights of {found.name} are not made: {format_bytes(size)} on disk",
            hint=f"mlx-preflight synthesize {found.name}",
        )
    return ResolvedModel(model, folder, "synthetic")


def _cached(model: str) -> Path:
    """Return the snapshot of a hub model in the local cache."""
    try:
        return hub_cache.find(model)
    except LookupError as error:
        raise missing(model) from error


def missing(model: str) -> BlockedError:
    """Return the error for a hub model that is not here: what it needs, how to get it."""
    place = Path(HF_HUB_CACHE)
    existing = next((p for p in (place, *place.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    repo, revision = hub_cache.split(model)
    found = catalog.find(repo)
    size = found.download_bytes if found else None
    needed = format_bytes(size) if size else "an unknown size"
    short = " (not enough)" if size and size > free else ""
    return BlockedError(
        f"the weights of {model} are not on this machine: {needed} to download, "
        f"{format_bytes(free)} free{short}",
        hint=f"mlx-preflight download {repo}"
        + (f" --revision {revision}" if revision != hub_cache.MAIN else ""),
    )


def prompts_for(model: ResolvedModel) -> list[dict[str, Any]]:
    """Return the prompts asked of a model: its own where it ships some, else the package's."""
    own = model.path / "prompts.json" if model.source == "embedded" else None
    path = own if own is not None and own.is_file() else Path(__file__).with_name("prompts.json")
    prompts: list[dict[str, Any]] = read_json(path)
    return prompts
