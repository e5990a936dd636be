"""Report on a loaded model, its tokenizer and the framework, inside a worker."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_preflight.runtime import loaded, parameters, round_trip
from mlx_preflight.runtime.messages import LoadReport


def framework() -> dict[str, str]:
    """Compute something small, and return the versions and the device.

    Raises:
        ArithmeticError: The result is wrong.
    """
    total, expected = mx.sum(mx.arange(4)).item(), sum(range(4))
    if total != expected:
        raise ArithmeticError(f"mlx computed 0 + 1 + 2 + 3 = {total}")
    versions = {name: metadata.version(name) for name in ("mlx", "mlx-lm")}
    return {**versions, "device": loaded.device()}


def run(model: loaded.LoadedModel, request: Mapping[str, Any]) -> LoadReport:
    """Describe a model that was just loaded from the `path` of a request."""
    config, arrays = model.config, tree_flatten(model.model.parameters())
    named = config.get("architectures") or [config.get("model_type", "unknown")]
    stored = config.get("quantization") or {}
    return LoadReport(
        import_s=model.import_s,
        load_s=model.load_s,
        parameters=parameters.count(model.model),
        stored_parameters=parameters.count_stored(model.model, config, Path(request["path"])),
        architecture=str(named[0]),
        layers=len(model.model.layers),
        dtypes=tuple(sorted({str(array.dtype).removeprefix("mlx.core.") for _, array in arrays})),
        quantization={key: stored[key] for key in ("bits", "group_size") if key in stored},
        device=loaded.device(),
        memory=loaded.memory(),
        tokenizer=type(model.tokenizer._tokenizer).__name__,  # noqa: SLF001  (the wrapper hides it)
        trips=tuple(round_trip.tokenizer_checks(model.tokenizer, config)),
    )
