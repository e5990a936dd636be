"""Compare the predicted peak of whole training runs with the one that MLX measures.

`python benchmarks/run_memory.py --out benchmarks/results/run_memory.json` writes small models
and skewed data sets (log-normal lengths, one very long row, validation rows that are longer),
lets the session `run5-memory` predict each run, and starts `mlx_lm.lora` on it in a fresh
process. The peak is that of the whole training, validations included. On Linux, preload
OpenBLAS: it makes float32 thirty times faster.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import yaml
from memory_accuracy import machine, versions
from mlx_lm import lora
from mlx_lm.tuner import trainer
from tiny_models import config_of, save

from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.training import memory

FAMILIES = (
    *("embedded", "llama", "qwen2", "qwen3", "gemma2", "phi3", "smollm3", "olmo2", "mistral"),
    *("embedded", "granite", "gemma3_text"),
)
"""Values of `model_type`, in turn; the embedded model twice."""

FUSED = {"phi3": ["self_attn.qkv_proj"]}
"""Families whose attention has one projection."""

WORDS = ("def", "return", "value", "for", "in", "range", "print", "list", "number", "if", "else")

Run = dict[str, Any]


def main() -> int:
    """Predict and measure every run, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the document; printed if absent")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the runs")
    parser.add_argument("--rows", type=Path, help="measurements, kept line by line for a repeat")
    parser.add_argument("--ranks", type=int, default=1, help="processes, by mlx.launch")
    parser.add_argument("--measure", type=Path, help="(the child) folder of one run")
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return 0
    kept = _kept(chosen.rows)
    done = []
    for index, drawn in enumerate(draw(chosen.count, chosen.seed)):
        run = shared(drawn, chosen.ranks)
        if chosen.only and index not in chosen.only:
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            parts = predicted(run, Path(folder), chosen.ranks)
            if index not in kept:
                kept[index] = measured(Path(folder), chosen.ranks)
                _keep(chosen.rows, index, kept[index])
        found = {"index": index, **run, **compared(parts, kept[index])}
        done.append({**found, "seconds": round(time.perf_counter() - started, 1)})
        print(_line(done[-1]), file=sys.stderr, flush=True)
    document = {
        "seed": chosen.seed,
        "ranks": chosen.ranks,
        "machine": machine(),
        "versions": versions(),
        "statistics": statistics_of(done),
        "runs": done,
    }
    text = json.dumps(document, indent=1)
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(document["statistics"], indent=1) if chosen.out else text)
    return 1 if document["statistics"]["outside"] else 0


def _line(found: Run) -> str:
    parts = " ".join(
        f"{name} {found[name]['predicted'] / 1e6:.2f}/{found[name]['measured'] / 1e6:.2f}"
        for name in ("training", "validation")
        if name in found
    )
    inside = "" if found["inside"] else "  OUTSIDE"
    return f"{found['index']:2} {found['family']:12} {found['error']:+.2%} MB: {parts}{inside}"


def statistics_of(done: list[Run]) -> dict[str, float]:
    """Return the errors of all runs in a few figures."""
    errors = sorted(abs(run["error"]) for run in done)
    return {
        "runs": len(done),
        "median": statistics.median(errors),
        "percentile_95": errors[max(0, -(-95 * len(errors) // 100) - 1)],
        "worst": errors[-1],
        "outside": sum(not run["inside"] for run in done),
        "validation_decides": sum(
            "validation" in run and run["validation"]["measured"] > run["training"]["measured"]
            for run in done
        ),
        "widest_in_second_half": sum(
            run["training"]["iteration"] > run["settings"]["iters"] / 2 for run in done
        ),
    }


def draw(count: int, seed: int) -> list[Run]:
    """Return random runs, the same for the same seed; families take turns."""
    source = random.Random(seed)
    return [_run(source, FAMILIES[index % len(FAMILIES)]) for index in range(count)]


def _run(source: random.Random, family: str) -> Run:
    kind = source.choice(["lora", "lora", "lora", "dora", "full"])
    dropout = source.choice([0.0, 0.0, 0.05, 0.2])
    parameters: dict[str, Any] = {"rank": source.choice([4, 8, 16]), "scale": 10.0}
    parameters["dropout"] = dropout
    if source.random() < 0.3:
        parameters["keys"] = FUSED.get(family, ["self_attn.q_proj", "self_attn.v_proj"])
    heads = source.choice([4, 6])
    # The CPU multiplies bfloat16 thirty times slower.
    slow = source.random() < 0.2
    settings = {
        "train": True,
        "fine_tune_type": kind,
        "lora_parameters": parameters,
        "optimizer": source.choice(["adam", "adamw", "sgd"]),
        "num_layers": source.choice([-1, 0, 2]),
        "batch_size": source.choice([1, 2, 3, 4]),
        "iters": 20 if slow else source.choice([20, 40, 60]),
        "max_seq_length": 128 if slow else source.choice([200, 256, 384, 512]),
        "steps_per_eval": source.choice([10, 15]),
        "val_batches": source.choice([1, 3, -1]),
        "steps_per_report": 1,
        "grad_accumulation_steps": source.choice([1, 1, 3]),
        "grad_checkpoint": source.random() < 0.4,
        "mask_prompt": source.random() < 0.5,
        "seed": source.randrange(1000),
    }
    return {
        "family": family,
        "shape": {
            "hidden_size": 32 * heads,
            "intermediate_size": 64 * source.randint(4, 8),
            "num_attention_heads": heads,
            "num_key_value_heads": 2,
            "num_hidden_layers": source.randint(2, 4),
            "dtype": "bfloat16" if slow else "float32",
        },
        "rows": {
            "train": 90,
            "valid": 12,
            "spread": source.choice([0.4, 0.8]),
            "longest_words": source.choice([200, 400]),
            "longer_validation": source.choice([1, 1, 4]),
            "seed": source.randrange(1000),
        },
        "settings": settings,
    }


def shared(run: Run, ranks: int) -> Run:
    """Return a run whose batch and validation rows can be shared by so many processes."""
    if ranks == 1:
        return run
    size = max(run["settings"]["batch_size"] // ranks, 1) * ranks
    return {**run, "settings": {**run["settings"], "batch_size": size}}


def predicted(run: Run, folder: Path, ranks: int = 1) -> Run:
    """Prepare a run, and return what `run5-memory` predicts of one of its processes."""
    prepare(run, folder)
    arguments = ("--config", "lora_config.yaml")
    launch = ("mlx.launch", "-n", str(ranks), "mlx_lm.lora", *arguments) if ranks > 1 else ()
    request = TrainingRequest(arguments, launch=launch)
    context = Context.of(folder, ProjectSettings(), training=request, note=lambda _line: None)
    facts = memory.gather(register.find_session(register.RUN5_MEMORY)[0], context)
    parts = {}
    for name, peak in (("training", facts.training), ("validation", facts.validation)):
        if isinstance(peak, Exception):
            raise peak
        if peak is not None and not isinstance(peak, str):  # (words: it cannot be the higher one)
            found = peak.prediction
            parts[name] = {
                "predicted": found.peak_bytes,
                "low": found.peak_low_bytes,
                "high": found.peak_high_bytes,
                "width": peak.width,
                "iteration": peak.iteration,
            }
    return parts


def measured(folder: Path, ranks: int = 1) -> Run:
    """Return the peaks of a prepared run in fresh processes: the highest of them all."""
    command = [sys.executable, __file__, "--measure", str(folder)]
    if ranks > 1:
        launcher = str(Path(sys.executable).with_name("mlx.launch"))
        command = [launcher, "-n", str(ranks), "--backend", "ring", "--", *command]
    # A pipe that stays open: at the end of its input mlx.launch asks it without a pause.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    ) as child:
        assert child.stdout is not None
        text = child.stdout.read()
    found = [json.loads(line) for line in text.splitlines() if line.startswith('{"training"')]
    if child.returncode or len(found) != ranks:
        raise RuntimeError(f"{len(found)} of {ranks} processes answered: {text[-2000:]}")
    return {name: max(one[name] for one in found) for name in found[0]}


def compared(parts: Run, real: Run) -> Run:
    """Return prediction, measurement and error of the whole run and of its parts."""
    whole = {
        name: max(part[name] for part in parts.values()) for name in ("predicted", "low", "high")
    }
    peak = max(real.values())
    return {
        **{name: {**part, "measured": real[name]} for name, part in parts.items()},
        **whole,
        "measured": peak,
        "error": whole["predicted"] / peak - 1,
        "inside": whole["low"] <= peak <= whole["high"],
    }


def _kept(path: Path | None) -> dict[int, Run]:
    """Return the measurements of an earlier start."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line.pop("index"): line for line in lines}


def _keep(path: Path | None, index: int, peaks: Run) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"index": index, **peaks}) + "\n")


def prepare(run: Run, folder: Path) -> None:
    """Write the model, the rows and the config of a run."""
    if run["family"] == "embedded":
        (folder / "model").symlink_to(EMBEDDED_FOLDER)
    else:
        save(config_of(run["family"], **run["shape"]), folder / "model")
    wanted = run["rows"]
    source = np.random.default_rng(wanted["seed"])
    (folder / "data").mkdir()
    for split, factor in (("train", 1), ("valid", wanted["longer_validation"])):
        lengths = source.lognormal(3.0, wanted["spread"], wanted[split]) * factor
        if split == "train":
            lengths[int(source.integers(len(lengths)))] = wanted["longest_words"]
        lines = [json.dumps(_row(source, split, n, int(k))) for n, k in enumerate(lengths)]
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"model": "model", "data": "data", "adapter_path": "adapters", **run["settings"]}
    (folder / "lora_config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _row(source: np.random.Generator, split: str, number: int, words: int) -> Run:
    answer = " ".join(source.choice(WORDS, max(words, 2)))
    turns = [("user", f"{split} {number}"), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


class Peaks:
    """Highest peak of the training steps and of the validations, as the trainer's callback."""

    def __init__(self) -> None:
        """Start without a step."""
        self.highest = {"training": 0, "validation": 0}

    def _take(self, name: str) -> None:
        self.highest[name] = max(self.highest[name], mx.get_peak_memory())
        mx.reset_peak_memory()

    def on_train_loss_report(self, _: object) -> None:
        """Take the peak of a step; every one is reported."""
        self._take("training")

    def on_val_loss_report(self, _: object) -> None:
        """Take the peak of a validation."""
        self._take("validation")


def measure(folder: Path) -> None:
    """Start `mlx_lm.lora` on the run in a folder, and print its peaks."""
    peaks = Peaks()

    def train(*, model: Any, **arguments: Any) -> None:
        mx.eval(model.parameters())
        mx.clear_cache()
        mx.reset_peak_memory()
        trainer.train(model=model, **{**arguments, "training_callback": peaks})

    lora.train = train
    config = yaml.safe_load((folder / "lora_config.yaml").read_text(encoding="utf-8"))
    lora.run(types.SimpleNamespace(**{**lora.CONFIG_DEFAULTS, **config}))
    print(json.dumps(peaks.highest))


if __name__ == "__main__":
    raise SystemExit(main())
