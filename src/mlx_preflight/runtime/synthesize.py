"""Checkpoints of a known model's exact shapes with random 4-bit weights, made offline.

It loads, trains and decodes at the real size before anything is downloaded; what it answers
means nothing. The tokenizer is the embedded model's, whose ids are a part of the vocabulary;
the output rows beyond them are zero, so that greedy decoding never leaves the tokenizer.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import save_config, save_model

from mlx_preflight.core import child
from mlx_preflight.core.child_main import run_job
from mlx_preflight.core.errors import ChildError, ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.core.units import format_bytes
from mlx_preflight.memory import architecture, quantization
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import catalog

SEED = 0
"""The weights of a model are the same on every machine of one backend."""

TIMEOUT_S = 3600.0

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""The chat template is in the second."""


def make(model: str, note: Callable[[str], None], *, timeout_s: float = TIMEOUT_S) -> Path:
    """Make the weights in a child process, unless they are there, and return their folder.

    Raises:
        UsageError: Unknown name.
        ResultError: The disk is too small or cannot be written.
        ChildError: The child failed, or took too long.
    """
    found = catalog.find_synthetic(model)
    target = catalog.synthetic_folder(found)
    if (target / "config.json").is_file():
        note(f"{target} is there already")
        return target
    scratch = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        free = shutil.disk_usage(scratch).free
    except OSError as error:
        raise ResultError(f"cannot write {scratch}: {error.strerror or error}") from error
    needed = catalog.synthetic_size_bytes(found)
    if needed > free:
        raise ResultError(f"{scratch}: {format_bytes(needed)} needed, {format_bytes(free)} free")
    note(f"writing {format_bytes(needed)} of random weights to {target}")
    job = {"name": found.name, "target": str(scratch)}
    try:
        child.call(
            "mlx_preflight.runtime.synthesize",
            job,
            timeout_s=timeout_s,
            label="the weights were not made",
        )
    except ChildError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    # A folder of this name is always a finished one.
    scratch.rename(target)
    return target


def write(job: Mapping[str, str]) -> str:
    """Build the model, quantize it and save it; runs in the child."""
    found, target = catalog.find_synthetic(job["name"]), Path(job["target"])
    mx.random.seed(SEED)
    settings = Settings(bits=None, group_size=catalog.SYNTHETIC_GROUP, dtype="bfloat16")
    model = architecture.build(found.config, settings)
    embedded = read_json(catalog.EMBEDDED_FOLDER / "config.json")
    _silence(model, embedded["vocab_size"])
    quantization.quantize(
        model,
        found.config,
        Settings(bits=catalog.SYNTHETIC_BITS, group_size=catalog.SYNTHETIC_GROUP),
    )
    # One by one: saving would first draw all of the unquantized weights at once.
    for _, array in tree_flatten(model.parameters()):
        mx.eval(array)
    save_model(target, model, donate_model=True)
    for name in _TOKENIZER:
        shutil.copyfile(catalog.EMBEDDED_FOLDER / name, target / name)
    ends = {key: embedded[key] for key in ("bos_token_id", "eos_token_id") if key in embedded}
    stored = {
        "group_size": catalog.SYNTHETIC_GROUP,
        "bits": catalog.SYNTHETIC_BITS,
        "mode": "affine",
    }
    config = {**found.config, **ends, "quantization": stored}
    save_config(config, target / "config.json")
    return str(target)


def _silence(model: Any, vocabulary: int) -> None:
    """Set the output rows of ids that the tokenizer does not know to zero."""
    head = getattr(model, "lm_head", None) or model.model.embed_tokens
    rows = mx.arange(head.weight.shape[0])[:, None] < vocabulary
    head.weight = mx.where(rows, head.weight, mx.zeros_like(head.weight))


if __name__ == "__main__":
    sys.exit(run_job(write, sys.argv[1:]))
