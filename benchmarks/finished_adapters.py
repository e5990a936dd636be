"""Plant faults in real adapters, and see which check of `mlx-preflight finish` names each.

`python benchmarks/finished_adapters.py` trains adapters of the embedded model with mlx_lm.lora
(some ten minutes on two cores), plants each fault, judges all of them, and prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_faults import FAULTS, sample
from adapter_samples import CLEAN, fuse, train

from mlx_preflight.core.environment import capture


def finish(folder: Path, *arguments: str) -> dict[str, Any]:
    """Judge a sample, and return the document of `--json`."""
    command = [sys.executable, "-m", "mlx_preflight", "finish", "adapters", "--json"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise RuntimeError(done.stderr[-2000:])
    document: dict[str, Any] = json.loads(done.stdout)
    return {**document, "exit_code": done.returncode}


def findings(document: Mapping[str, Any], status: str = "FAIL") -> dict[str, str]:
    """Return check id → reason of what has a status."""
    rows = document["report"]["findings"]
    return {row["id"]: row["reason"] for row in rows if row["status"] == status}


def main() -> int:
    """Print one JSON document."""
    named: dict[str, dict[str, Any]] = {}
    clean: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number, (name, fault) in enumerate(FAULTS.items()):
            folder = root / f"fault-{number}"
            document = finish(folder, *sample(root / "kept", folder, fault))
            found = findings(document)
            right = fault.words in found.get(fault.check, "") and fault.check in found
            named[name] = {"check": fault.check, "named": right, "failed": found}
            print(f"{name}: {'named' if right else found}", file=sys.stderr, flush=True)
        for number, (name, changes) in enumerate(CLEAN.items()):
            folder = fuse(train(root / f"clean-{number}", **changes))
            begin = time.perf_counter()
            document = finish(folder, "--config", "run.yaml", "--fused", "fused")
            seconds = time.perf_counter() - begin
            clean[name] = {
                "passes": document["usable"],
                "findings": document["report"]["findings"],
                "finish_s": round(seconds, 1),
            }
            print(f"{name}: {clean[name]}", file=sys.stderr, flush=True)
    totals = {
        "faults": len(named),
        "named": sum(item["named"] for item in named.values()),
        "clean": len(clean),
        "clean_passing": sum(item["passes"] for item in clean.values()),
    }
    document = {**totals, "named_by": named, "clean_runs": clean, "environment": capture()}
    print(json.dumps(document, indent=1))
    return 0 if totals["named"] == len(named) and totals["clean_passing"] == len(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
