"""Options of a prediction, a search and a measurement: one declaration for commands and API.

Light on purpose: the command line reads it for every `--help`, so mlx must not be imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from mlx_preflight.plan.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """Options of a LoRA training, under MLX-LM's names and with its defaults."""

    batch_size: int = option(4, "Rows of a batch.")
    max_seq_length: int = option(2048, "Longest row, tokens.")
    num_layers: int = option(16, "Blocks with adapters; -1 for all.")
    rank: int = option(8, "Rank of the adapters.")
    lora_keys: str | None = option(None, "Such as self_attn.q_proj,self_attn.v_proj; default: all.")
    grad_checkpoint: bool = option(
        False, "Recompute each block.", flag="--grad-checkpoint/--no-grad-checkpoint"
    )
    bits: int | None = option(
        None, "Of the weights; 16 is unquantized. Default: the model's, or 4."
    )
    group_size: int | None = option(None, "Weights that share a scale.")
    dtype: str | None = option(None, "bfloat16, float16 or float32.")
    optimizer: str = option("adam", "adam, adamw, sgd, adafactor, muon.")
    grad_accumulation_steps: int = option(1, "Batches for one update.")
    fine_tune_type: str = option("lora", "lora, dora or full, which trains the blocks themselves.")
    dropout: float = option(0.0, "Share of the adapters' inputs that is dropped.", least=0)
    backend: str | None = option(None, "metal, cpu or cuda; default: this machine's.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(LoraOptions):
    """Options of a training on another machine: a Mac, unless one is named."""

    backend: str | None = option("metal", "metal, cpu or cuda.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions(LoraOptions):
    """Options of a search for settings that fit."""

    keep: str = option("", "What not to give up: max_seq_length,rank,…")


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateOptions(LoraOptions):
    """Options of a training or of a generation."""

    inference: bool = option(False, "Generate instead of training.")
    prompt_tokens: int = option(2048, "Length of the prompt.")
    generate_tokens: int = option(128, "Tokens generated after it.")
    kv_bits: int | None = option(None, "Of a quantized KV cache.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions(EstimateOptions):
    """The same with defaults of a run that ends within a minute."""

    batch_size: int = option(1, "Rows of a batch.")
    max_seq_length: int = option(256, "Longest row, tokens.")
    prompt_tokens: int = option(256, "Length of the prompt.")
    generate_tokens: int = option(32, "Tokens generated after it.")
    steps: int = option(3, "Training steps.", least=2)
    timeout_s: float = option(1800, "Kill the run after so long.", least=1)
    random_weights: bool = option(False, "Even where the folder has weights.")


GENERATION = ("prompt_tokens", "generate_tokens", "kv_bits")
"""Options that only generation obeys."""

TRAINING = (
    *("batch_size", "max_seq_length", "num_layers", "rank", "lora_keys", "grad_checkpoint"),
    *("optimizer", "grad_accumulation_steps", "fine_tune_type", "dropout"),
)
"""Options that only training obeys."""


def ignored(
    given: Collection[str], *, inference: bool, shown: Callable[[str], str] = str
) -> tuple[str, ...]:
    """Return warnings of options that were given and that this kind of run does not obey.

    Args:
        given: Names of the options.
        inference: Whether the run generates.
        shown: Returns a name as the user writes it.
    """
    kind, names = ("generation", TRAINING) if inference else ("training", GENERATION)
    unused = [shown(name) for name in names if name in given]
    if not unused:
        return ()
    other = f"{'leave out' if inference else 'add'} {shown('inference')}"
    return (f"{kind} does not depend on {', '.join(unused)}: ignored; {other} to use it",)
