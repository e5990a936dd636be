"""A tokenizer as mlx_lm loads it, looked at in a child of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core import child


def ask(folder: Path, config: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
    """Return what `model_child` says of a folder's tokenizer and chat template.

    Args:
        folder: The checkpoint; no code in it is run.
        config: `eos_token_id` and `vocab_size` of the model.
        timeout_s: Longest time for the child.

    Raises:
        ChildError: The child died, or took too long.
    """
    job = {"config": None, "tokenizer": str(folder.absolute()), "ends": dict(config)}
    answer = child.call("mlx_preflight.runtime.model_child", job, timeout_s=timeout_s).value
    found: Mapping[str, Any] = answer["tokenizer"]
    return found
