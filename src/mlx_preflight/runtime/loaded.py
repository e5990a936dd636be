"""A model loaded inside a worker, timed, and the process's memory counters.

Importable without mlx, which is imported on use, so that importing it can be timed too.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core.child_main import peak_rss_bytes
from mlx_preflight.runtime.messages import Memory


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model inside the worker.

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


def load_model(path: str, *, lazy: bool = False, adapter: str | None = None) -> LoadedModel:
    """Load a checkpoint exactly as MLX-LM's users do.

    Args:
        path: Folder of the checkpoint; never a hub id, so that nothing is downloaded.
        lazy: Leave the parameters unevaluated (training quantizes them first).
        adapter: Folder of adapters whose files were validated; None loads none.
    """
    import_s = import_framework()
    core, mlx_lm = importlib.import_module("mlx.core"), importlib.import_module("mlx_lm")
    begin = time.perf_counter()
    model, tokenizer, config = mlx_lm.load(
        path,
        tokenizer_config={"trust_remote_code": False},
        adapter_path=adapter,
        lazy=lazy,
        return_config=True,
        trust_remote_code=False,
    )
    if not lazy:
        core.eval(model.parameters())
    return LoadedModel(model, tokenizer, config, import_s, time.perf_counter() - begin)


def memory() -> Memory:
    """Return the memory counters of this process."""
    core = importlib.import_module("mlx.core")
    limit = core.device_info().get("max_recommended_working_set_size")
    return Memory(
        active_bytes=core.get_active_memory(),
        peak_bytes=core.get_peak_memory(),
        cache_bytes=core.get_cache_memory(),
        rss_bytes=peak_rss_bytes(),
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
