"""Make a checkpoint of a known model's exact shapes with random 4-bit weights, offline.

It loads, trains and decodes at the real size before anything is downloaded; what it answers
means nothing. The tokenizer is the embedded model's, whose ids are a part of the vocabulary;
the output rows beyond them are zero, so that greedy decoding never leaves the tokenizer.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_preflight.errors import ChildError, ResultError, UsageError
from mlx_preflight.isolate import child_environment, run_child
from mlx_preflight.memory import known
from mlx_preflight.memory.known import Known
from mlx_preflight.memory.settings import Settings
from mlx_preflight.plan import SYNTHETIC_PREFIX, suggest

BITS, GROUP = 4, 64
"""The defaults of `mlx_lm.convert -q`."""

SEED = 0
"""The weights of a model are the same on every machine of one backend."""

TIMEOUT_S = 3600.0

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""The chat template is in the second."""


def find(model: str) -> Known:
    """Return the known model of a name such as `synthetic:qwen2.5-coder-7b`.

    Raises:
        UsageError: No config of that name is built in; the message suggests the nearest.
    """
    name = model.removeprefix(SYNTHETIC_PREFIX)
    found = known.find(name)
    if found is None:
        names = [item.name for item in known.models()]
        raise UsageError(f"no shapes of {name!r} are built in{suggest(name, names)}")
    return found


def folder(found: Known) -> Path:
    """Return where a model's random weights lie: in the user's cache, for all projects."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mlx-preflight" / "synthetic" / found.name


def size_bytes(found: Known) -> int:
    """Return about what the files take: 4 bits per weight, a scale and a bias per group."""
    return found.parameters * (BITS * GROUP + 2 * 16) // (8 * GROUP)


def make(model: str, note: Callable[[str], None], *, timeout_s: float = TIMEOUT_S) -> Path:
    """Make the weights in a child process, unless they are there, and return their folder.

    Raises:
        UsageError: Unknown name.
        ResultError: The disk is too small or cannot be written.
        ChildError: The child failed, or took too long.
    """
    found = find(model)
    target = folder(found)
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
    needed = size_bytes(found)
    if needed > free:
        raise ResultError(f"{scratch}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
    note(f"writing {needed / 1e9:.1f} GB of random weights to {target}")
    command = [sys.executable, "-m", "mlx_preflight.model.synthetic", found.name, str(scratch)]
    done = run_child(command, cwd=scratch, timeout_s=timeout_s, env=child_environment())
    if done.returncode != 0:
        shutil.rmtree(scratch, ignore_errors=True)
        raise ChildError(f"the weights were not made: {done.death() or done.tail(1).strip()}")
    # Whole or not at all: a folder of this name is always a finished one.
    scratch.rename(target)
    return target


def main(arguments: list[str]) -> int:
    """Build the model, quantize it and save it; runs in the child."""
    import mlx.core as mx  # noqa: PLC0415
    from mlx.utils import tree_flatten  # noqa: PLC0415
    from mlx_lm.utils import save_config, save_model  # noqa: PLC0415

    from mlx_preflight.memory import architecture, quantization  # noqa: PLC0415
    from mlx_preflight.model.location import EMBEDDED_FOLDER  # noqa: PLC0415

    found, target = find(arguments[0]), Path(arguments[1])
    mx.random.seed(SEED)
    settings = Settings(bits=None, group_size=GROUP, dtype="bfloat16")
    model = architecture.build(found.config, settings)
    vocabulary = json.loads((EMBEDDED_FOLDER / "config.json").read_text("utf-8"))["vocab_size"]
    _silence(model, int(vocabulary))
    quantization.quantize(model, found.config, Settings(bits=BITS, group_size=GROUP))
    # One by one: saving would first draw all of the unquantized weights at once.
    for _, array in tree_flatten(model.parameters()):
        mx.eval(array)
    save_model(target, model, donate_model=True)
    for name in _TOKENIZER:
        shutil.copyfile(EMBEDDED_FOLDER / name, target / name)
    embedded = json.loads((EMBEDDED_FOLDER / "config.json").read_text("utf-8"))
    ends = {key: embedded[key] for key in ("bos_token_id", "eos_token_id") if key in embedded}
    stored = {"group_size": GROUP, "bits": BITS, "mode": "affine"}
    config = {**found.config, **ends, "quantization": stored}
    save_config(config, target / "config.json")
    return 0


def _silence(model: Any, vocabulary: int) -> None:
    """Set the output rows of ids that the tokenizer does not know to zero."""
    import mlx.core as mx  # noqa: PLC0415

    head = getattr(model, "lm_head", None) or model.model.embed_tokens
    rows = mx.arange(head.weight.shape[0])[:, None] < vocabulary
    head.weight = mx.where(rows, head.weight, mx.zeros_like(head.weight))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
