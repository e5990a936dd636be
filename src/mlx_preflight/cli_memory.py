"""Define the commands on memory: estimate, measure and fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_preflight.cli_options import print_json, progress
from mlx_preflight.cli_run import (
    Accumulate,
    Backend,
    Batch,
    Bits,
    Budget,
    Checkpoint,
    Dtype,
    Generate,
    Group,
    Inference,
    Json,
    Keys,
    KvBits,
    Layers,
    Length,
    Model,
    Optimizer,
    Prompt,
    Rank,
    ignored,
    read,
)
from mlx_preflight.errors import EstimateError

if TYPE_CHECKING:
    from mlx_preflight.memory.fit import Fit
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.source import Source


def attach(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(
        epilog="Examples:  mlx-preflight estimate qwen2.5-coder-7b --batch-size 1 --budget-gb 16"
        "  ·  mlx-preflight estimate ./my-model --inference --json"
    )(estimate)
    app.command(
        epilog="Example:  mlx-preflight measure embedded --batch-size 1 --max-seq-length 256"
    )(measure)
    app.command(
        epilog="Example:  mlx-preflight fit qwen2.5-coder-7b --budget-gb 16 "
        "--keep max_seq_length --write ./run"
    )(fit)


def estimate(
    context: typer.Context,
    model: Model,
    batch_size: Batch = 4,
    max_seq_length: Length = 2048,
    num_layers: Layers = 16,
    rank: Rank = 8,
    lora_keys: Keys = None,
    grad_checkpoint: Checkpoint = False,
    bits: Bits = None,
    group_size: Group = None,
    dtype: Dtype = None,
    optimizer: Optimizer = "adam",
    grad_accumulation_steps: Accumulate = 1,
    backend: Backend = None,
    inference: Inference = False,
    prompt_tokens: Prompt = 2048,
    generate_tokens: Generate = 128,
    kv_bits: KvBits = None,
    budget_gb: Budget = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw memory over the step: .svg, .png or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict the peak memory of a run from the model's config; nothing is run or downloaded.

    The exit code is 1 when the upper end of the prediction is over --budget-gb.
    """
    source, settings = read(model, locals())
    budget = _bytes(budget_gb)
    with progress(f"tracing {source.name}", quiet=as_json):
        from mlx_preflight.memory.predict import predict

        found = predict(source.config, settings)
    warnings = (*found.warnings, *ignored(context, settings))
    found = dataclasses.replace(found, warnings=warnings)
    if plot is not None:
        from mlx_preflight.memory import plot as plots

        plots.step(found, plot, f"{source.name}, {settings.backend}, simulated")
    if as_json:
        print_json(_document(source, found, budget))
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_prediction(source, found, budget)
    raise typer.Exit(1 if budget is not None and found.peak_high_bytes > budget else 0)


def measure(
    context: typer.Context,
    model: Model,
    batch_size: Batch = 1,
    max_seq_length: Length = 256,
    num_layers: Layers = 16,
    rank: Rank = 8,
    lora_keys: Keys = None,
    grad_checkpoint: Checkpoint = False,
    bits: Bits = None,
    group_size: Group = None,
    dtype: Dtype = None,
    optimizer: Optimizer = "adam",
    grad_accumulation_steps: Accumulate = 1,
    backend: Backend = None,
    inference: Inference = False,
    prompt_tokens: Prompt = 256,
    generate_tokens: Generate = 32,
    kv_bits: KvBits = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Training steps.")] = 3,
    memory_limit_gb: Annotated[
        float | None,
        typer.Option(
            "--memory-limit-gb", help="Kill the run above this; default: 0.9 of what is free."
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=1, help="Kill the run after so long.")
    ] = 1800,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Even where the folder has weights.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run MLX-LM's trainer, or its generation, in a fresh child and report what it took.

    Without weights of the model on this machine they are random: their memory is the same.
    """
    from mlx_preflight.memory import calibration, quantization
    from mlx_preflight.memory import measure as measuring
    from mlx_preflight.memory.predict import predict

    source, settings = read(model, locals())
    for line in ignored(context, settings):
        typer.echo(f"warning: {line}", err=True)
    here = calibration.backend()
    if settings.backend != here:
        raise EstimateError("backend", settings.backend, f"{here}, the one of this machine")
    weights = None if random_weights else source.folder
    stored = quantization.stored(source.config)
    if weights is not None and stored is not None and not stored.fits(settings):
        raise EstimateError(
            "bits",
            settings.bits,
            f"{stored.bits} in groups of {stored.group_size}, as the weights are stored",
            hint="add --random-weights",
        )
    with progress(f"measuring {source.name}", quiet=as_json):
        predicted = predict(source.config, settings)
        found = measuring.measure(
            source.config,
            settings,
            steps=steps,
            timeout_s=timeout_s,
            memory_limit_bytes=_bytes(memory_limit_gb, "memory-limit-gb"),
            weights=weights,
        )
    if as_json:
        print_json(
            {
                **dataclasses.asdict(found),
                "predicted_bytes": predicted.peak_bytes,
                "settings": dataclasses.asdict(settings),
                "model": source.name,
                "weights": "random" if weights is None else str(weights),
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_measured(source, found, predicted)


def fit(
    model: Model,
    budget_gb: Annotated[float, typer.Option("--budget-gb", help="Memory in GB (10^9 bytes).")],
    batch_size: Batch = 4,
    max_seq_length: Length = 2048,
    num_layers: Layers = 16,
    rank: Rank = 8,
    lora_keys: Keys = None,
    grad_checkpoint: Checkpoint = False,
    bits: Bits = None,
    group_size: Group = None,
    dtype: Dtype = None,
    optimizer: Optimizer = "adam",
    grad_accumulation_steps: Accumulate = 1,
    backend: Backend = None,
    keep: Annotated[
        str, typer.Option("--keep", help="What not to give up: max_seq_length,rank,…")
    ] = "",
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder for lora_config.yaml and axolotl.yml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the settings nearest to yours whose predicted upper end fits a budget.

    The exit code is 1 when nothing fits; the smallest settings and their need are shown.
    """
    from mlx_preflight.memory import fit as fitting

    source, settings = read(model, locals())
    budget = _bytes(budget_gb) or 0
    names = [name.strip().replace("-", "_") for name in keep.split(",") if name.strip()]
    with progress("searching", quiet=as_json) as status:
        found = fitting.fit(
            source.config, settings, budget, keep=names, note=getattr(status, "update", print)
        )
    written: Sequence[Path] = ()
    if write is not None and found.fits:
        from mlx_preflight.memory import recipes
        from mlx_preflight.memory.settings import in_words
        from mlx_preflight.report.memory_screen import gb

        best = found.fits[0]
        head = (
            f"{in_words(best.settings)}: predicted peak {gb(best.prediction.peak_bytes)}, at most "
            f"{gb(best.prediction.peak_high_bytes)} on {settings.backend} (simulated)"
        )
        written = recipes.write(write, source.checkpoint, best.settings, source.config, head)
    if as_json:
        print_json(
            {
                "budget_bytes": budget,
                "fits": [_fit_document(item, budget) for item in found.fits],
                "smallest_bytes": found.smallest.peak_high_bytes,
                "written": [str(path) for path in written],
            }
        )
    else:
        from mlx_preflight.report import memory_screen

        memory_screen.show_fits(found, budget, written)
    raise typer.Exit(0 if found.fits else 1)


def _bytes(size_gb: float | None, name: str = "budget-gb") -> int | None:
    if size_gb is None:
        return None
    if not 0 < size_gb < 1e6:  # noqa: PLR2004  (a petabyte; also refuses nan)
        raise EstimateError(name, size_gb, "a number of GB above 0 and below a million")
    return int(size_gb * 1e9)


def _document(source: Source, found: Prediction, budget: int | None) -> dict[str, Any]:
    from mlx_preflight.memory.working_sets import WORKING_SETS

    document = dataclasses.asdict(found)
    del document["timeline"]
    return {
        **document,
        "model": source.name,
        "origin": source.origin,
        "evidence": "simulated",
        "download_bytes": source.download_bytes,
        "headroom_bytes": None if budget is None else budget - found.peak_high_bytes,
        "macs": [
            {"ram_gb": ram, "working_set_bytes": size, "headroom_bytes": size - high}
            for high in [found.peak_high_bytes]
            for ram, size in WORKING_SETS.items()
        ],
    }


def _fit_document(item: Fit, budget: int) -> dict[str, Any]:
    return {
        "settings": dataclasses.asdict(item.settings),
        "peak_bytes": item.prediction.peak_bytes,
        "peak_high_bytes": item.prediction.peak_high_bytes,
        "headroom_bytes": budget - item.prediction.peak_high_bytes,
        "given_up": list(item.given_up),
        "cost": item.cost,
    }
