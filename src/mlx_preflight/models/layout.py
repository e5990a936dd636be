"""Description of a checkpoint folder from its listing, its JSON files and its tensor headers.

No tensor is read, no pickle is opened and no Python file of the folder is executed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import CheckpointError, EstimateError
from mlx_preflight.core.text import printable
from mlx_preflight.models.files import (
    DOWNLOAD_AGAIN,
    MAX_CONFIG_BYTES,
    confined,
    read_object,
)
from mlx_preflight.models.quantization import Quantization, foreign_entry, own_quantization
from mlx_preflight.models.safetensors_header import TensorHeader
from mlx_preflight.models.weights import ADAPTER_CONFIG, OWN_BASE, is_pickle, read_weights

TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Sets of files, one of which transformers needs to build a tokenizer."""

MODELOPT = "hf_quant_config.json"
"""Where NVIDIA's ModelOpt says how it quantized."""

OWN_TEMPLATE = ("muse_spark",)
"""Model types for which mlx_lm has a chat template of its own (TOKENIZER_DEFAULTS, 0.32.2)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Contents of a checkpoint folder, as it declares them.

    Attributes:
        folder: The folder.
        config: config.json.
        generation_config: generation_config.json; empty when there is none.
        tokenizer_config: tokenizer_config.json.
        tensors: Every tensor that loading reads, by name.
        files: The weights files that hold them.
        unreferenced: Weights files that the index does not name. mlx_lm reads them all
            the same, so they are a finding.
        stale_index: Files that the index names and that do not exist, while those that do
            hold every tensor that it lists.
        pickles: Pickle files beside the weights; never opened.
        tokenizer_files: The files that the tokenizer is built from.
        total_bytes: Size of all files of the folder, in bytes.
        weight_bytes: Size of all tensors, in bytes.
        parameters: Logical parameters after loading: a packed weight counts what it
            unpacks to, scales, group biases, a tied `lm_head` and rotary tables count 0.
            With a `foreign_quantization` the stored elements are counted.
        quantization: MLX's own, or None.
        foreign_quantization: `quant_method` of another library, or empty.
        tied: Whether the output layer reuses the embedding.
        vocab_size: `vocab_size` of the config, or None.
        embedding_rows: Rows of the embedding tensor, or None where it is not found.
        has_chat_template: Whether a chat template is present.
        remote_code: What asks to execute Python of the folder; never executed.
    """

    folder: Path
    config: dict[str, Any]
    generation_config: dict[str, Any]
    tokenizer_config: dict[str, Any]
    tensors: dict[str, TensorHeader]
    files: tuple[str, ...]
    unreferenced: tuple[str, ...]
    stale_index: tuple[str, ...]
    pickles: tuple[str, ...]
    tokenizer_files: tuple[str, ...]
    total_bytes: int
    weight_bytes: int
    parameters: int
    quantization: Quantization | None
    foreign_quantization: str
    tied: bool
    vocab_size: int | None
    embedding_rows: int | None
    has_chat_template: bool
    remote_code: tuple[str, ...]


def inspect(folder: Path) -> Checkpoint:
    """Validate a checkpoint folder statically and describe it.

    Args:
        folder: A folder in the layout of the Hugging Face hub.

    Raises:
        CheckpointError: The folder, its config, its weights or its tokenizer is absent,
            damaged, or must not be loaded.
    """
    names = listing(folder)
    if "config.json" not in names and ADAPTER_CONFIG in names:
        raise CheckpointError(f"{folder}: is a LoRA adapter, not a model.", hint=OWN_BASE)
    config = _required_json(folder, names, "config.json")
    files, unreferenced, stale, tensors = read_weights(folder, names)
    tokenizer_files = _tokenizer_files(folder, names)
    tokenizer_config = _required_json(folder, names, "tokenizer_config.json")
    quantization, foreign = _quantization(_with_modelopt(folder, names, config), folder)
    tied = _tied(config, folder / "config.json")
    embedding, vocab_size = tensors.get("model.embed_tokens.weight"), config.get("vocab_size")
    return Checkpoint(
        folder=folder,
        config=config,
        generation_config=_optional_json(folder, names, "generation_config.json"),
        tokenizer_config=tokenizer_config,
        tensors=tensors,
        files=files,
        unreferenced=unreferenced,
        stale_index=stale,
        pickles=tuple(name for name in names if is_pickle(name)),
        tokenizer_files=tokenizer_files,
        total_bytes=_total_bytes(folder, names),
        weight_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        parameters=_parameters(tensors, quantization, tied=tied),
        quantization=quantization,
        foreign_quantization=foreign,
        tied=tied,
        vocab_size=vocab_size if type(vocab_size) is int else None,
        embedding_rows=embedding.shape[0] if embedding and embedding.shape else None,
        has_chat_template=_has_chat_template(names, tokenizer_config, config.get("model_type")),
        remote_code=_remote_code(names, config, tokenizer_config),
    )


def listing(folder: Path) -> tuple[str, ...]:
    """Return the sorted names in a folder.

    Raises:
        CheckpointError: It is absent, empty, unreadable or no folder.
    """
    where_to_get = "Give the folder that holds config.json and model.safetensors."
    if not os.path.lexists(folder):
        raise CheckpointError(f"{folder}: does not exist.", hint=where_to_get)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: is a file or a broken link, not a folder.", hint=where_to_get
        )
    try:
        names = tuple(sorted(path.name for path in folder.iterdir()))
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be listed: {error.strerror}.", hint="Check its permissions."
        ) from error
    if not names:
        raise CheckpointError(f"{folder}: is empty.", hint=DOWNLOAD_AGAIN)
    return names


def _required_json(folder: Path, names: Sequence[str], name: str) -> dict[str, Any]:
    """Return a JSON file that every checkpoint has."""
    if name not in names:
        raise CheckpointError(f"{folder}: has no {name}.", hint=DOWNLOAD_AGAIN)
    return read_object(confined(folder, name), MAX_CONFIG_BYTES)


def _optional_json(folder: Path, names: Sequence[str], name: str) -> dict[str, Any]:
    """Return a JSON file, or an empty object when there is none."""
    return _required_json(folder, names, name) if name in names else {}


def _tokenizer_files(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the first complete set of tokenizer files."""
    for needed in TOKENIZERS:
        if all(name in names for name in needed):
            for name in needed:
                confined(folder, name)
            return needed
    choices = " or ".join("+".join(needed) for needed in TOKENIZERS)
    raise CheckpointError(
        f"{folder}: has no tokenizer; expected {choices}.",
        hint="Download the tokenizer of exactly this model: hf download REPOSITORY tokenizer.json "
        "tokenizer_config.json --local-dir FOLDER.",
    )


def _with_modelopt(folder: Path, names: Sequence[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return the config with ModelOpt's own file, as mlx_lm (0.32) completes it."""
    text = config.get("text_config")
    places = [config, text if isinstance(text, dict) else {}]
    if MODELOPT not in names or any("quantization_config" in place for place in places):
        return config
    return {**config, "quantization_config": _required_json(folder, names, MODELOPT)}


def _quantization(config: dict[str, Any], folder: Path) -> tuple[Quantization | None, str]:
    """Return MLX's quantization settings and the name of another library's method."""
    path = folder / "config.json"
    try:
        foreign = foreign_entry(config)
        if foreign is not None:
            return None, printable(foreign.get("quant_method"))
        return own_quantization(config), ""
    except EstimateError as error:
        raise CheckpointError(
            f"{path}: {printable(error.field)} is {printable(error.value)}; "
            f"expected {error.allowed}.",
            hint="Quantize again: mlx_lm.convert --hf-path REPOSITORY -q.",
        ) from error


def _tied(config: dict[str, Any], path: Path) -> bool:
    """Return `tie_word_embeddings`; absent means true, as in mlx_lm's model arguments."""
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise CheckpointError(
            f"{path}: tie_word_embeddings is {printable(tied)}; true or false is expected.",
            hint=DOWNLOAD_AGAIN,
        )
    return tied


def _parameters(
    tensors: dict[str, TensorHeader], quantization: Quantization | None, *, tied: bool
) -> int:
    """Return the logical parameters, as `mlx_lm.utils.get_total_parameters` counts them."""
    count = 0
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        packed = f"{module}.scales" in tensors
        if (packed and leaf in {"scales", "biases"}) or "rotary_emb.inv_freq" in name:
            continue
        if tied and module == "lm_head":
            continue
        settings = quantization.of(module) if quantization else None
        if packed and leaf == "weight" and tensor.dtype == "U32" and settings:
            # 32 / bits logical elements lie in each word.
            count += tensor.elements * 32 // settings.bits
        else:
            count += tensor.elements
    return count


def _has_chat_template(names: Sequence[str], tokenizer: dict[str, Any], model_type: object) -> bool:
    """Return whether there is a template where a tokenizer reads one.

    Not in chat_template.json: that is a processor's file (transformers 5), and mlx_lm loads no
    processor.
    """
    return bool(
        tokenizer.get("chat_template")
        or tokenizer.get("chat_template_type")
        or model_type in OWN_TEMPLATE
        or "chat_template.jinja" in names
    )


def _remote_code(names: Sequence[str], *configs: dict[str, Any]) -> tuple[str, ...]:
    """Return everything that asks to execute Python of the folder."""
    found = [f"{name} in the folder" for name in names if name.endswith(".py")]
    for config in configs:
        found += [
            f"{key}: {printable(config[key])}"
            for key in ("auto_map", "model_file")
            if key in config
        ]
    return tuple(found)


def _total_bytes(folder: Path, names: Sequence[str]) -> int:
    """Return the size of the folder's regular files, in bytes."""
    return sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
