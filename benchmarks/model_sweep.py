"""Predict and measure the smallest config of every model file of the installed mlx_lm.

`python benchmarks/model_sweep.py --rows sweep.jsonl --out benchmarks/results/model_sweep.json`
predicts, for every model type and alias, a training in float32, one in 4 bits with
checkpointing, a full one, DoRA and a generation, and measures each in a fresh process. Each row
is one line of `--rows`, so that a run can be stopped and resumed; `--only` names types, and
`--predict` repeats the predictions of rows that are measured. What is refused is measured too:
a type that trains here and is refused is a gap of the predictor. On Linux, preload OpenBLAS.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memory_accuracy import machine, versions
from memory_report import summary
from mlx_lm.models import cache, switch_layers
from model_configs import config_of, types

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory import architecture, installation
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings

BASE = Settings(
    batch_size=2, max_seq_length=129, num_layers=-1, dtype="float32", bits=None, backend="cpu"
)

RUNS = {
    "training": BASE,
    "4 bits, checkpointing": replace(BASE, bits=4, grad_checkpoint=True),
    "generation": replace(BASE, inference=True, prompt_tokens=200, generate_tokens=16),
    "full": replace(BASE, fine_tune_type="full"),
    "dora": replace(BASE, fine_tune_type="dora"),
}
"""What is run of every type."""

KV_CACHES = (
    *(cache.KVCache, cache.RotatingKVCache, cache.ChunkedKVCache, cache.ConcatenateKVCache),
    *(cache.QuantizedKVCache,),
)
"""Caches of attention; a model with another one is a hybrid."""

LOG = logging.getLogger(__name__)

SLOW_S = 20
"""Seconds of the processor within which every type is answered or refused."""

Row = dict[str, Any]


def main() -> int:
    """Sweep, and exit 1 after a traceback or an answer that took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=Path("model_sweep.jsonl"))
    parser.add_argument("--out", type=Path, help="file for the document; printed if absent")
    parser.add_argument("--only", action="append", help="model type; default: all")
    parser.add_argument("--run", action="append", choices=RUNS, help="kind of run; default: all")
    parser.add_argument("--predict", action="store_true", help="predict measured rows again")
    parser.add_argument("--no-measure", action="store_true", help="only predict")
    parser.add_argument("--timeout", type=float, default=180, help="seconds of a measurement")
    chosen = parser.parse_args()
    rows = _kept(chosen.rows)
    for run in chosen.run or RUNS:
        for kind in chosen.only or sorted(types()):
            row = rows.setdefault((kind, run), {"type": kind, "run": run})
            _complete(row, chosen)
            with chosen.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    document = report([rows[key] for key in sorted(rows)])
    text = json.dumps(document, indent=1, sort_keys=True)
    if chosen.out:
        chosen.out.write_text(text + "\n", "utf-8")
    print(json.dumps({key: document[key] for key in document if key != "rows"}, indent=1))
    return 1 if document["tracebacks"] or document["slow"] else 0


def _kept(file: Path) -> dict[tuple[str, str], Row]:
    """Return the rows of earlier runs; the last line of a row counts."""
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return {(row["type"], row["run"]): row for row in map(json.loads, lines)}


def _complete(row: Row, chosen: argparse.Namespace) -> None:
    """Add to a row what it lacks: the prediction, the measurement, or both."""
    done = "predicted_bytes" in row or "refused" in row
    if done and not chosen.predict and ("peak_bytes" in row or "failure" in row):
        return
    settings = RUNS[row["run"]]
    try:
        config = config_of(row["type"])
    except SystemExit:  # (`olmo` ends the process where its package is missing)
        config = {"model_type": row["type"]}
    if chosen.predict or not done:
        for name in ("predicted_bytes", "low_bytes", "high_bytes", "refused", "traceback"):
            row.pop(name, None)
        row |= _predicted(config, settings)
        row["group"] = _group(config)
    if not chosen.no_measure and "peak_bytes" not in row:
        row |= _measured(config, settings, chosen.timeout)
    shown = {key: row[key] for key in ("type", "run", "predict_s")}
    end = row.get("refused") or row.get("traceback") or f"{row.get('peak_bytes')} measured"
    print(json.dumps(shown), str(end).splitlines()[-1][:150], file=sys.stderr, flush=True)


def _predicted(config: Row, settings: Settings) -> Row:
    """Return the prediction, or why it is refused."""
    started, used = time.perf_counter(), time.process_time()
    found: Row
    try:
        made = predict(config, settings)
        found = {
            "predicted_bytes": made.peak_bytes,
            "low_bytes": made.peak_low_bytes,
            "high_bytes": made.peak_high_bytes,
        }
    except PreflightError as error:
        found = {"refused": f"{error}" + (f" ({error.hint})" if error.hint else "")}
    except Exception:
        LOG.exception("a traceback, which the sweep looks for")
        found = {"traceback": traceback.format_exc()}
    spent = time.process_time() - used
    return {
        **found,
        "predict_s": round(time.perf_counter() - started, 2),
        "predict_cpu_s": round(spent, 2),
    }


def _measured(config: Row, settings: Settings, timeout_s: float) -> Row:
    """Return the measured peak, or why there is none."""
    started = time.perf_counter()
    found: Row
    try:
        found = {"peak_bytes": measure(config, settings, timeout_s=timeout_s, steps=4).peak_bytes}
    except PreflightError as error:
        found = {"failure": str(error).splitlines()[-1][:400]}
    return {**found, "measure_s": round(time.perf_counter() - started, 2)}


def _group(config: Row) -> str:
    """Return whether a model has experts, recurrent blocks, both or neither."""
    try:
        model = architecture.build(config, BASE)
        kinds = {type(item) for item in cache.make_prompt_cache(model)}
    except (PreflightError, *installation.RAISED, NotImplementedError):
        return "not built"
    experts = any(isinstance(m, switch_layers.SwitchLinear) for _, m in model.named_modules())
    hybrid = not kinds <= set(KV_CACHES)
    return {(False, False): "dense", (True, False): "experts"}.get((experts, hybrid), "hybrid")


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of all rows, what is refused, and the rows."""
    return {
        "machine": machine(),
        "versions": versions(),
        "types": len({row["type"] for row in rows}),
        "runs": {
            run: _figures([row for row in rows if row["run"] == run])
            for run in RUNS
            if any(row["run"] == run for row in rows)
        },
        "tracebacks": [_name(row) for row in rows if "traceback" in row],
        "slow": [_name(row) for row in rows if row["predict_cpu_s"] > SLOW_S],
        "rows": list(rows),
    }


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the errors of one kind of run by group, and what has no error."""
    both = [row for row in rows if "predicted_bytes" in row and "peak_bytes" in row]
    groups: dict[str, list[Row]] = {"all": both}
    for row in both:
        groups.setdefault(row["group"], []).append(row)
    return {
        "errors": {name: _errors(group) for name, group in sorted(groups.items()) if group},
        "worst": [
            f"{row['type']} {100 * _error(row):+.1f} %"
            for row in sorted(both, key=lambda row: -abs(_error(row)))[:8]
        ],
        "outside": [row["type"] for row in both if not _inside(row)],
        "refused": {row["type"]: row["refused"] for row in rows if "refused" in row},
        "refused_and_runs": [
            row["type"] for row in rows if "refused" in row and "peak_bytes" in row
        ],
        "predicted_and_fails": {
            row["type"]: row["failure"]
            for row in rows
            if "predicted_bytes" in row and "failure" in row
        },
    }


def _errors(rows: Sequence[Row]) -> dict[str, Any]:
    inside = sum(_inside(row) for row in rows)
    return {**summary([_error(row) for row in rows]), "inside": inside}


def _error(row: Row) -> float:
    return float(row["predicted_bytes"] / row["peak_bytes"] - 1)


def _inside(row: Row) -> bool:
    return bool(row["low_bytes"] <= row["peak_bytes"] <= row["high_bytes"])


def _name(row: Row) -> str:
    return f"{row['type']}, {row['run']}"


if __name__ == "__main__":
    raise SystemExit(main())
