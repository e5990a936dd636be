"""Plant faults whose first backward fails in an installation, and rehearse; prints JSON.

`python benchmarks/rehearsal_faults.py --out benchmarks/results/rehearsal_faults.json`: each of
the pairs of model and fault of `installation_faults` must be named by RUN6.1, with the exception
and the versions, and the same run without the fault must pass. Every rehearsal is session
run6-rehearsal of a run of `mlx_lm.lora`, in a process of its own. On Linux, preload OpenBLAS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from installation_faults import FAULTS, Fault
from memory_accuracy import machine, versions
from tiny_models import save

SESSION = """
import sys
from pathlib import Path
from mlx_preflight.core.result import SessionResult
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.register import find_session
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.run.session import run_session
import json
run = TrainingRequest(("--config", "run.yaml"))
context = Context.of(Path.cwd(), ProjectSettings(), training=run, note=lambda _: None)
result = run_session(find_session("run6-rehearsal")[0], context)
print(json.dumps(result.to_json()))
"""
"""What the process runs: the session as `qualify --rehearse` runs it."""

ROW = {
    "messages": [
        {"role": "user", "content": "Write a function that adds two numbers."},
        {"role": "assistant", "content": "def add(a, b):\n    return a + b"},
    ]
}


def prepare(fault: Fault, folder: Path) -> None:
    """Write model, rows and config of a run."""
    save(fault.model, folder / "model")
    (folder / "data").mkdir()
    for name in ("train", "valid"):
        text = "".join(json.dumps(ROW) + "\n" for _ in range(4))
        (folder / "data" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    settings = {
        "model": "model",
        "train": True,
        "data": "data",
        "iters": 1000,
        "batch_size": 1,
        "num_layers": 2,
        "max_seq_length": 64,
        "val_batches": 1,
        **fault.settings,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def rehearse(folder: Path, planted: Path | None = None) -> dict[str, Any]:
    """Return what RUN6.1 of a run says, and the seconds of the session.

    Args:
        folder: Of the run.
        planted: Folder of a fault; None leaves the installation as it is.
    """
    before = [] if planted is None else [str(planted)]
    paths = [*before, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    seconds = round(time.perf_counter() - begin, 1)
    try:
        checks = json.loads(done.stdout.splitlines()[-1])["checks"]
    except (IndexError, ValueError):
        return {"status": "none", "reason": done.stderr[-500:], "remedy": "", "seconds": seconds}
    (found,) = (check for check in checks if check["id"] == "RUN6.1")
    return {name: found[name] for name in ("status", "reason", "remedy")} | {"seconds": seconds}


def is_named(fault: Fault, found: dict[str, Any]) -> bool:
    """Return whether a result names the exception, the pair of versions, and what helps."""
    pair = (f"mlx {version('mlx')}", f"mlx-lm {version('mlx-lm')}")
    said = all(words in found["reason"] for words in (fault.words, *pair))
    return bool(found["status"] == fault.status and said and found["remedy"])


def judge(name: str, folder: Path, *, clean: bool) -> dict[str, Any]:
    """Return a row of the document: a fault, and the same run without it."""
    fault = FAULTS[name]
    prepare(fault, folder)
    found = rehearse(folder, fault.plant(folder / "planted"))
    row = {"fault": name, "family": fault.family, **found, "named": is_named(fault, found)}
    if clean:
        shutil.rmtree(folder / ".preflight", ignore_errors=True)
        row["neighbour"] = rehearse(folder)
    return row


def main() -> int:
    """Judge every fault, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(FAULTS), help="names of faults")
    parser.add_argument("--no-neighbours", action="store_true", help="judge the faults alone")
    parser.add_argument("--out", type=Path, help="file for the document; printed if absent")
    options = parser.parse_args()
    rows = []
    for number, name in enumerate(options.only):
        with tempfile.TemporaryDirectory() as temporary:
            row = judge(name, Path(temporary) / str(number), clean=not options.no_neighbours)
        rows.append(row)
        clean = row.get("neighbour", {})
        words = f"{'named' if row['named'] else 'MISSED'} {row['status']} {row['reason'][:200]}"
        print(f"{name}: {words}; neighbour {clean.get('status')}", file=sys.stderr, flush=True)
    neighbours = [row["neighbour"] for row in rows if "neighbour" in row]
    document = {
        "planted": len(rows),
        "named": sum(row["named"] for row in rows),
        "missed": [row["fault"] for row in rows if not row["named"]],
        "neighbours": len(neighbours),
        "false_alarms": sum(found["status"] != "PASS" for found in neighbours),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }
    text = json.dumps(document, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
