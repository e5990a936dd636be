"""Validation of a checkpoint folder before anything loads it.

This is the entry point: `inspect` describes a folder or refuses it, the checks compare
its parts with each other, and the digests say which files exactly were judged. The
standard library suffices for all but `check_values`, which imports numpy.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Mapping

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.models.dtypes import check_dtypes
from mlx_preflight.models.files import confined, open_regular
from mlx_preflight.models.layout import Checkpoint, inspect, listing
from mlx_preflight.models.safetensors_header import TensorHeader, read_header
from mlx_preflight.models.shapes import ShapeCheck, check_shapes, layers_beyond
from mlx_preflight.models.values import ValueCheck, check_values
from mlx_preflight.models.vocabulary import check_vocabulary
from mlx_preflight.models.weights import INDEX

__all__ = [
    "Checkpoint",
    "ShapeCheck",
    "TensorHeader",
    "ValueCheck",
    "check_dtypes",
    "check_shapes",
    "check_values",
    "check_vocabulary",
    "digests",
    "fingerprint",
    "inspect",
    "layers_beyond",
    "read_header",
]

LOADED = (
    "config.json",
    "generation_config.json",
    "hf_quant_config.json",
    INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
    "*.tiktoken",
    "*.py",
)
"""Files beside the weights that mlx_lm or transformers reads or would import; not the whole
of `mlx_lm.utils.DEFAULT_ALLOW_PATTERNS`, whose *.json and *.txt take notes and logs too."""

CHUNK_BYTES = 1024 * 1024
"""Read at a time."""


def digests(cp: Checkpoint, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file that loading would read.

    Args:
        cp: A checkpoint from `inspect`.
        progress: Called with the bytes read and the bytes to read.

    Returns:
        Hexadecimal digest by file name, sorted by name.

    Raises:
        CheckpointError: A file cannot be read, or is a link out of the folder.
    """
    weights = {*cp.files, *cp.unreferenced}
    names = sorted(
        name
        for name in listing(cp.folder)
        if name in weights or any(fnmatch.fnmatchcase(name, pattern) for pattern in LOADED)
    )
    paths = {name: confined(cp.folder, name) for name in names}
    total = sum(path.stat().st_size for path in paths.values() if path.is_file())
    done = 0
    found = {}
    for name, path in paths.items():
        digest = hashlib.sha256()
        with open_regular(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        found[name] = digest.hexdigest()
    return found


def fingerprint(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 over the names and digests of all files, whatever their order.

    Args:
        digests: What `digests` returned.

    Raises:
        CheckpointError: There is no digest: the fingerprint of nothing would identify nothing.
    """
    if not digests:
        raise CheckpointError(
            "A fingerprint needs at least one file's digest.", hint="Pass what `digests` returned."
        )
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
