"""AC4 on a small model of every type of mlx_lm: `python benchmarks/loading_sweep.py`.

Each is made twice, as it is and quantized. One JSON document: what AC4.2 to AC4.5 refuse of each
model that mlx_lm loads, and why mlx_lm makes no model of the other configs. Each is loaded in
this process, in place of a worker.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from family_models import config_of, model_types, save
from memory_accuracy import machine, versions

from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.criteria import loading, model_under_test, script
from mlx_preflight.models import checkpoint, locate, validation
from mlx_preflight.plan import profiles, register
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import inspection, loaded
from mlx_preflight.runtime.foreign import attempt
from mlx_preflight.runtime.loaded import LoadedModel

JUDGED = (register.AC4_2, register.AC4_3, register.AC4_4, register.AC4_5)
"""The checks that read a model."""

WIDTHS = (None, 4)
"""Bits of the weights; None leaves them as they are."""


def main() -> int:
    """Print the sweep, and return 1 where a check does not pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", help="model types; all without one")
    rows = list(sweep(parser.parse_args().types or model_types()))
    refused = [row for row in rows if row.get("refused")]
    document = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "types": len({row["model_type"] for row in rows}),
        "loaded_types": len({row["model_type"] for row in rows if "made" not in row}),
        "models": sum("made" not in row for row in rows),
        "refused": len(refused),
        "rows": rows,
    }
    print(json.dumps(document, indent=1))
    return 1 if refused else 0


def sweep(types: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each model: what AC4 refuses, or why mlx_lm makes none of its config."""
    for model_type in types:
        for bits in WIDTHS:
            print(f"{model_type}, {bits or 'no'} bits", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                yield {"model_type": model_type, "bits": bits, **_row(model_type, bits, folder)}


def _row(model_type: str, bits: int | None, folder: str) -> dict[str, Any]:
    path = Path(folder) / "model"
    made = attempt(lambda: _made(model_type, bits, path))
    if isinstance(made, Exception):
        return {"made": f"{type(made).__name__}: {made}"[:200]}
    model = attempt(lambda: load(path))
    if isinstance(model, Exception):
        return {"made": f"mlx_lm does not load it: {type(model).__name__}: {model}"[:300]}
    outcomes = judge(path, model)
    wrong = {name: it.reason for name, it in outcomes.items() if it.status is not Status.PASS}
    return {"refused": wrong, "counted": outcomes[register.AC4_3].reason}


def _made(model_type: str, bits: int | None, path: Path) -> Path:
    try:
        return save(config_of(model_type), path, bits=bits)
    except SystemExit as error:  # (olmo without its package)
        raise ImportError(f"it ends the process: {error}") from error


def load(path: Path) -> LoadedModel:
    """Return a checkpoint as a worker loads it; transformers warns, as it does there."""
    with warnings.catch_warnings(action="ignore"):
        return loaded.load_model(str(path))


def judge(path: Path, model: LoadedModel) -> dict[str, Outcome]:
    """Return what the checks of AC4 that read a model say of a checkpoint."""
    context = Context.of(
        path.parent, ProjectSettings(), profiles.find_profile(profiles.EMBEDDED), run_id="sweep"
    )
    report = inspection.run(model, {"path": str(path)})
    resolved = locate.resolve(str(path))
    inspected = checkpoint.inspect(path)
    found = model_under_test.ModelUnderTest(resolved, inspected, checkpoint.digests(inspected))
    facts = loading.LoadingFacts(
        context,
        found,
        loading.Loads(report, False, report),
        None,
        validation.validate(inspected),
        script.inspect(path.parent, loading.SCRIPT),
    )
    return {name: loading.CHECKS[name](facts) for name in JUDGED}


if __name__ == "__main__":
    raise SystemExit(main())
