"""Load a model inside a worker, timed, and read the process's memory counters.

Importable without mlx, which is imported on use, so that importing it can be timed too.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.model.exchange import Memory


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold a loaded model inside the worker.

    Attributes:
        model: An `mlx.nn.Module`.
        tokenizer: MLX-LM's tokenizer wrapper.
        config: The checkpoint's config.
        import_s: Time to import mlx and mlx_lm.
        load_s: From the call of `mlx_lm.load` until all parameters are evaluated; without
            the evaluation when it was lazy.
    """

    model: Any
    tokenizer: Any
    config: Mapping[str, Any]
    import_s: float
    load_s: float


def import_framework() -> float:
    """Import mlx and mlx_lm and return the seconds that took."""
    begin = time.perf_counter()
    importlib.import_module("mlx.core")
    importlib.import_module("mlx_lm")
    return time.perf_counter() - begin


def load_model(path: str, *, lazy: bool = False) -> Loaded:
    """Load a checkpoint exactly as MLX-LM's users do.

    Args:
        path: Folder of the checkpoint; never a hub id, so that nothing is downloaded.
        lazy: Leave the parameters unevaluated (training quantizes them first).
    """
    import_s = import_framework()
    core, mlx_lm = importlib.import_module("mlx.core"), importlib.import_module("mlx_lm")
    begin = time.perf_counter()
    model, tokenizer, config = mlx_lm.load(
        path,
        tokenizer_config={"trust_remote_code": False},
        lazy=lazy,
        return_config=True,
        trust_remote_code=False,
    )
    if not lazy:
        core.eval(model.parameters())
    return Loaded(model, tokenizer, config, import_s, time.perf_counter() - begin)


def memory() -> Memory:
    """Return the memory counters of this process."""
    core = importlib.import_module("mlx.core")
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS (getrusage(2) of each).
    scale = 1 if sys.platform == "darwin" else 1024
    limit = core.device_info().get("max_recommended_working_set_size")
    return Memory(
        active_bytes=core.get_active_memory(),
        peak_bytes=core.get_peak_memory(),
        cache_bytes=core.get_cache_memory(),
        rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        working_set_bytes=int(limit) if limit else None,
    )


def device() -> str:
    """Return MLX's default device and what it is called."""
    core = importlib.import_module("mlx.core")
    return f"{core.default_device().type.name}: {core.device_info().get('device_name', 'unknown')}"


def positions(config: Mapping[str, Any]) -> int:
    """Return how many positions the model knows; a config that is silent sets no bound."""
    known = config.get("max_position_embeddings")
    return known if isinstance(known, int) and known > 0 else sys.maxsize
