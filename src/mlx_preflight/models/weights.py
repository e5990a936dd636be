"""A checkpoint's weights files and their headers.

Pickles are recognised by their name and never opened.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.core.text import printable, printable_list
from mlx_preflight.models.files import DOWNLOAD_AGAIN, MAX_INDEX_BYTES, confined, read_object
from mlx_preflight.models.safetensors_header import TensorHeader, read_header

WEIGHTS_GLOB = "model*.safetensors"
"""The only weights that `mlx_lm.utils.load_model` reads, with or without an index."""

INDEX = "model.safetensors.index.json"
"""The index that transformers and mlx_lm write beside shards."""

ADAPTER_CONFIG = "adapter_config.json"
"""What an adapter has, and a model has not."""

OWN_BASE = "This is a LoRA adapter: give the folder of its base model."

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Weights that execute code when they are read."""

MAX_SHARDS = 10_000
"""Bound of weights files; published models have fewer than 300."""

_SHARD = re.compile(r"model-(\d{1,6})-of-(\d{1,6})\.safetensors")


def is_pickle(name: str) -> bool:
    """Return whether a file's name is one of pickled weights."""
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in PICKLES)


def read_weights(
    folder: Path, names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], dict[str, TensorHeader]]:
    """Find the weights files and read their headers.

    Args:
        folder: The checkpoint folder.
        names: Its listing.

    Returns:
        The weights files, those that the index does not name, those that it names and that do
        not exist, and the tensors of the first.

    Raises:
        CheckpointError: There are no safetensors, one is absent or damaged, or the index
            disagrees with them.
    """
    present = tuple(name for name in names if fnmatch.fnmatchcase(name, WEIGHTS_GLOB))
    weight_map = _weight_map(folder) if INDEX in names else {}
    named = tuple(sorted(set(weight_map.values())))
    # mlx_lm reads what is there and no index; one of other files may be a leftover.
    stale = tuple(name for name in named if name not in present) if present else ()
    files = named if named and not stale else present or named
    if not files:
        raise _no_weights(folder, names)
    where = str(folder.resolve())
    if not fnmatch.fnmatchcase(where, where):
        raise CheckpointError(
            f"{folder}: mlx-lm finds no weights in it: it takes the [ in {where} for a pattern.",
            hint="Rename the folder: without [ and ] it is found.",
        )
    _require_shards(folder, files, present)
    tensors = _merged_headers(folder, sorted({*files, *present}))
    wanted = set(files)
    kept = {name: tensor for name, tensor in tensors.items() if tensor.file in wanted}
    if stale:
        _require_tensors(folder, stale, weight_map, kept)
    elif weight_map:
        _check_index(folder / INDEX, weight_map, kept)
    if not kept:
        raise CheckpointError(
            f"{folder}: its weights ({printable_list(files)}) hold no tensor.", hint=DOWNLOAD_AGAIN
        )
    return files, tuple(name for name in present if name not in wanted), stale, kept


def _require_tensors(
    folder: Path,
    stale: Sequence[str],
    weight_map: Mapping[str, str],
    tensors: Mapping[str, TensorHeader],
) -> None:
    """Refuse an index of files that do not exist, unless the others hold all that it lists."""
    absent = [name for name in weight_map if name not in tensors]
    if absent:
        raise CheckpointError(
            f"{folder}: {len(stale)} weights files that the index names are missing: "
            f"{printable_list(stale)}; {len(absent)} tensors are in no other file: "
            f"{printable_list(absent)}.",
            hint=DOWNLOAD_AGAIN,
        )


def _no_weights(folder: Path, names: Sequence[str]) -> CheckpointError:
    """Return why a folder without `model*.safetensors` is refused."""
    pickles = [name for name in names if is_pickle(name)]
    if pickles:
        return CheckpointError(
            f"{folder}: its only weights are pickles ({printable_list(pickles)}), which execute "
            "code when they are read; they were not opened.",
            hint="Take a safetensors revision of the model, or convert the pickles in a sandbox "
            "(huggingface.co/spaces/safetensors/convert).",
        )
    others = [name for name in names if name.endswith((".safetensors", ".gguf", ".npz"))]
    seen = f"; it holds {printable_list(others)}" if others else ""
    return CheckpointError(
        f"{folder}: has no weights named {WEIGHTS_GLOB}{seen}.",
        hint=OWN_BASE if ADAPTER_CONFIG in names else DOWNLOAD_AGAIN,
    )


def _weight_map(folder: Path) -> dict[str, str]:
    """Return the index's map of tensor to shard; each shard is a confined, loadable name."""
    path = confined(folder, INDEX)
    weight_map = read_object(path, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{path}: weight_map is {printable(weight_map)}; a map of tensor to shard is expected.",
            hint=DOWNLOAD_AGAIN,
        )
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(
                f"{path}: tensor {printable(tensor)} maps to {printable(shard)}, not to a "
                "file name.",
                hint=DOWNLOAD_AGAIN,
            )
    for shard in set(weight_map.values()):
        confined(folder, shard)
        if not fnmatch.fnmatchcase(shard, WEIGHTS_GLOB):
            raise CheckpointError(
                f"{path}: names the shard {printable(shard)}, but MLX-LM reads "
                f"{WEIGHTS_GLOB} only.",
                hint="Convert the checkpoint: mlx_lm.convert --hf-path REPOSITORY.",
            )
    return weight_map


def _require_shards(folder: Path, files: Sequence[str], present: Sequence[str]) -> None:
    """Refuse a checkpoint whose index or shard names promise files that are absent."""
    totals = {total for _, total in _numbers(files)}
    most = max([len(files), *totals])
    if most > MAX_SHARDS:
        raise CheckpointError(
            f"{folder}: claims {most:,} weights files; at most {MAX_SHARDS:,} are expected.",
            hint=DOWNLOAD_AGAIN,
        )
    missing = set(files) - set(present)
    every = {(number, total) for total in totals for number in range(1, total + 1)}
    # By number: DeepSeek's names have five digits before `of` and six behind it.
    absent = every - _numbers(present) - _numbers(missing)
    like = next((found for found in map(_SHARD.fullmatch, files) if found), None)
    if like is not None:
        digits, more = len(like[1]), len(like[2])
        missing |= {f"model-{n:0{digits}d}-of-{total:0{more}d}.safetensors" for n, total in absent}
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} of {len(every) or len(files)} weights files are missing: "
            f"{printable_list(sorted(missing))}.",
            hint=DOWNLOAD_AGAIN,
        )


def _numbers(files: Iterable[str]) -> set[tuple[int, int]]:
    """Return number and total of the files that are named as shards."""
    return {(int(found[1]), int(found[2])) for found in map(_SHARD.fullmatch, files) if found}


def _merged_headers(folder: Path, files: Sequence[str]) -> dict[str, TensorHeader]:
    """Return the tensors of all files; a name in two files is refused."""
    tensors: dict[str, TensorHeader] = {}
    for file in files:
        for name, tensor in read_header(confined(folder, file)).items():
            if name in tensors:
                raise CheckpointError(
                    f"{folder}: tensor {printable(name)} is in {tensors[name].file} and in {file}; "
                    "which one MLX-LM keeps depends on the order of the directory.",
                    hint="Remove the weights file that does not belong to this checkpoint.",
                )
            tensors[name] = tensor
    return tensors


def _check_index(path: Path, weight_map: dict[str, str], tensors: dict[str, TensorHeader]) -> None:
    """Refuse an index that disagrees with the shards' headers, in either direction."""
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].file != shard:
            found = tensors[name].file if name in tensors else "no shard"
            raise CheckpointError(
                f"{path}: tensor {printable(name)} is mapped to {shard}, but found in {found}.",
                hint=DOWNLOAD_AGAIN,
            )
    extra = [name for name in tensors if name not in weight_map]
    if extra:
        raise CheckpointError(
            f"{path}: does not map {len(extra)} tensors of its shards, for example "
            f"{printable(extra[0])} of {tensors[extra[0]].file}.",
            hint=DOWNLOAD_AGAIN,
        )
