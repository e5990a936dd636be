"""The config of a model that is to be estimated: built in, a file, a folder or the hub.

Only config.json is read, and the headers of weights beside it. Nothing of a repository is run,
and weights are never fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub

from mlx_preflight.core.errors import (
    BlockedError,
    CheckpointError,
    PreflightError,
    UsageError,
    or_error,
)
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.models import catalog, checkpoint, dtypes, files, hub, hub_cache
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan.profiles import EMBEDDED

YAML = {".yaml", ".yml"}

ANSWER_S = 10
"""Seconds within which the hub answers whether a file is there; the client's own limit."""

WEIGHTS = "model*.safetensors"
"""What mlx_lm loads (mlx_lm/utils.py 0.32); adapters and other forms may be beside it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model's config and its origin.

    Attributes:
        name: As asked; the hub id of a built-in model.
        config: Its config.json, as the bytes beside it are loaded.
        folder: Folder with its weights; None when there are none here.
        download_bytes: Size of the published checkpoint; None when unknown.
        origin: Where the config was read.
    """

    name: str
    config: Mapping[str, Any]
    folder: Path | None
    download_bytes: int | None
    origin: str

    @property
    def place(self) -> str:
        """Return what a trainer is given: the folder with the weights, or the hub id.

        Raises:
            UsageError: Only a config is here, or a revision, which no trainer's file can name.
        """
        if self.folder is not None:
            return str(self.folder.resolve())
        if Path(self.name).expanduser().exists():
            raise UsageError(f"{self.name}: no weights to train", hint="name the folder with them")
        if "@" in self.name:
            raise UsageError(
                f"{self.name}: a training file cannot name a revision",
                hint=f"`mlx-preflight download {self.name}`, then name its folder",
            )
        return self.name


def find(model: str) -> Source:
    """Return the config of a model.

    Args:
        model: A built-in name, `embedded`, a config.json, a folder, or a hub id.

    Raises:
        UsageError: Nothing of that name; the message suggests the nearest built-in one.
        CheckpointError: A file that cannot be read as a config.
        BlockedError: The hub did not answer.
    """
    built_in = catalog.find(model)
    if built_in is not None:
        origin = f"built in: {built_in.source}"
        return Source(built_in.repository, built_in.config, None, built_in.download_bytes, origin)
    path = EMBEDDED_FOLDER if model == EMBEDDED else Path(model).expanduser()
    if path.suffix in YAML and path.is_file():
        raise UsageError(
            f"{model}: a training's YAML, and no model",
            hint=f"`mlx-preflight qualify {model}` judges the training; here, name its model",
        )
    if path.is_file() or path.is_dir():
        file = path / "config.json" if path.is_dir() else path
        config = files.read_object(file, files.MAX_CONFIG_BYTES)
        weights = list(file.parent.glob(WEIGHTS))
        size = sum(item.stat().st_size for item in weights) or None
        if not weights:
            return Source(model, config, None, size, str(file))
        return Source(model, _as_stored(config, file.parent), file.parent, size, str(file))
    if not hub_cache.is_hub_id(model):
        raise UsageError(
            f"model {model!r}: no such file or folder, no hub id, not built in{_nearest(model)}",
            hint="name a folder, a config.json, or a hub id as owner/name",
        )
    return _from_hub(model)


def _as_stored(config: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return a config that says of the weights beside it what mlx_lm makes of their bytes.

    It neither reads the type in a config, nor quantizes by one what has no scales. Weights that
    cannot be described leave the config as it is: the checks of a checkpoint refuse them.
    """
    found = or_error(lambda: checkpoint.inspect(folder))
    if isinstance(found, PreflightError):
        return config
    lies = ("quantization", "quantization_config") if dtypes.is_unpacked(found) else ()
    kept = {name: value for name, value in config.items() if name not in lies}
    stored = dtypes.stored_dtype(found)
    if stored is None or stored == str(dtypes.declared(config)).removeprefix("torch."):
        return kept
    return {**kept, "dtype": stored}


def _nearest(model: str) -> str:
    """Return the built-in name nearest to one of the same generation, or all names of it.

    `qwen3-4b` is one letter away from `qwen3.5-4b`, and another model.
    """
    names = [item.name for item in catalog.models()]
    generation, _, _ = model.lower().partition("-")
    same = [name for name in names if _plain(name.partition("-")[0]) == _plain(generation)]
    version = re.fullmatch(r"([a-z]+)[\d.]+", generation)
    family = [name for name in names if version and name.startswith(version[1])]
    if same or not family:
        return suggest(model, same or names)
    return f"; no {generation} is built in, of its family {', '.join(family)}"


def _plain(generation: str) -> str:
    return generation.replace(".", "")


def _from_hub(model: str) -> Source:
    repository, revision = hub_cache.split(model)
    try:
        path = Path(_fetched(repository, revision))
    except huggingface_hub.errors.HFValidationError as error:
        raise UsageError(f"model {model!r}: {error}") from error
    except Exception as error:  # the client's errors have no common base
        reason = hub.refused(repository, revision, error)
        names = ", ".join(item.name for item in catalog.models())
        raise BlockedError(
            str(reason), hint=f"{reason.hint}; or name a local config.json, or one of {names}"
        ) from error
    config = files.read_object(path, files.MAX_CONFIG_BYTES)
    size = _weights_on_the_hub(repository, revision)
    return Source(model, config, None, size, f"config.json of {model} on the hub")


def _fetched(repository: str, revision: str) -> str:
    """Return the path of a config, from the cache or the hub.

    The client asks a hub that does not answer six times, 40 s long; here it is asked once.
    """
    name = "config.json"
    if not isinstance(
        huggingface_hub.try_to_load_from_cache(repository, name, revision=revision), str
    ):
        url = huggingface_hub.hf_hub_url(repository, name, revision=revision)
        huggingface_hub.get_hf_file_metadata(url, timeout=ANSWER_S)
    return str(huggingface_hub.hf_hub_download(repository, name, revision=revision))


def _weights_on_the_hub(repository: str, revision: str) -> int | None:
    """Return the bytes of a repository's weights; None where the hub does not say."""
    try:
        _, listed = hub.listing(repository, revision, api=huggingface_hub.HfApi())
    except (BlockedError, CheckpointError):
        return None
    return sum(item.size for item in listed if fnmatch(item.name, WEIGHTS))
