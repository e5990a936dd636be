"""Define the options that say which run is meant: model, settings, backend; and read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlx_preflight.memory.settings import Settings
    from mlx_preflight.memory.source import Source

UNQUANTIZED = 16
"""`--bits` that leaves the weights as they are."""

Model = Annotated[
    str, typer.Argument(help="Built-in name, config.json, folder, hub id or `embedded`.")
]
Batch = Annotated[int, typer.Option("--batch-size", help="Rows of a batch.")]
Length = Annotated[int, typer.Option("--max-seq-length", help="Longest row, tokens.")]
Layers = Annotated[int, typer.Option("--num-layers", help="Blocks with adapters; -1 for all.")]
Rank = Annotated[int, typer.Option("--rank", help="Rank of the adapters.")]
Keys = Annotated[
    str | None,
    typer.Option("--lora-keys", help="Such as self_attn.q_proj,self_attn.v_proj; default: all."),
]
Checkpoint = Annotated[
    bool, typer.Option("--grad-checkpoint/--no-grad-checkpoint", help="Recompute each block.")
]
Bits = Annotated[
    int | None,
    typer.Option("--bits", help="Of the weights; 16 is unquantized. Default: the model's, or 4."),
]
Group = Annotated[int | None, typer.Option("--group-size", help="Weights that share a scale.")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="bfloat16, float16 or float32.")]
Optimizer = Annotated[str, typer.Option("--optimizer", help="adam, adamw, sgd, adafactor, muon.")]
Accumulate = Annotated[
    int, typer.Option("--grad-accumulation-steps", help="Batches for one update.")
]
Backend = Annotated[
    str | None, typer.Option("--backend", help="metal, cpu or cuda; default: this machine's.")
]
Inference = Annotated[bool, typer.Option("--inference", help="Generate instead of training.")]
Prompt = Annotated[int, typer.Option("--prompt-tokens", help="Length of the prompt.")]
Generate = Annotated[int, typer.Option("--generate-tokens", help="Tokens generated after it.")]
KvBits = Annotated[int | None, typer.Option("--kv-bits", help="Of a quantized KV cache.")]
Budget = Annotated[float | None, typer.Option("--budget-gb", help="Memory in GB (10^9 bytes).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

GENERATION = ("prompt_tokens", "generate_tokens", "kv_bits")
"""Options that only generation obeys."""

TRAINING = (
    *("batch_size", "max_seq_length", "num_layers", "rank", "lora_keys", "grad_checkpoint"),
    *("optimizer", "grad_accumulation_steps"),
)
"""Options that only training obeys."""


def read(model: str, given: dict[str, Any]) -> tuple[Source, Settings]:
    """Return the model and the run that a command line asks for."""
    from mlx_preflight.memory import quantization, source
    from mlx_preflight.memory.settings import Settings, dtype_of

    found = source.find(model)
    stored = quantization.stored(found.config)
    default = stored.bits if stored else 4
    bits = default if given["bits"] is None else given["bits"]
    group = stored.group_size if stored and bits == stored.bits else 64
    if given["backend"] is None:
        from mlx_preflight.memory import calibration

        given["backend"] = calibration.backend()
    keys = given["lora_keys"]
    names = {item.name for item in dataclasses.fields(Settings)}
    chosen = {name: value for name, value in given.items() if name in names}
    chosen |= {
        "bits": None if bits == UNQUANTIZED else bits,
        "group_size": group if given["group_size"] is None else given["group_size"],
        "dtype": dtype_of(found.config) if given["dtype"] is None else given["dtype"],
        "keys": None if keys is None else tuple(key.strip() for key in keys.split(",")),
    }
    return found, Settings(**chosen)


def ignored(context: typer.Context, settings: Settings) -> tuple[str, ...]:
    """Return warnings of options that were given and that this kind of run does not obey."""
    kind, names = ("generation", TRAINING) if settings.inference else ("training", GENERATION)
    given = [
        f"--{name.replace('_', '-')}"
        for name in names
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    if not given:
        return ()
    other = "leave out --inference" if settings.inference else "add --inference"
    return (f"{kind} does not depend on {', '.join(given)}: ignored; {other} to use it",)
