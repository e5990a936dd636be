"""Settings that decide the memory of a run, under MLX-LM's own names; no mlx is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "adafactor": "Adafactor",
    "muon": "Muon",
}
"""Optimizers of `mlx_lm.lora` and their classes in mlx.optimizers."""

LORA_SCALE = 20.0
"""`mlx_lm.lora`'s default; it changes no shape."""

QUANTIZED_START = 5000
"""mlx_lm/generate.py 0.32, `DEFAULT_QUANTIZED_KV_START`: tokens before the cache is quantized."""


WORKING_SETS = {
    16: 10_922 << 20,
    24: int(17.76 * (1 << 30)),
    32: 24 * 10**9,
    36: 27_648 << 20,
    64: 46_700 * 10**6,
}
"""Recommended working set in bytes by RAM in GB, as users report `Metal`'s answer: 16 GB M1
10,922 MiB (ise-uiuc/magicoder#19; an M3 reports 11.84 GB), 24 GB 17.76 GiB
(sgl-project/sglang#29949), 32 GB 24 GB (an M4 iMac), 36 GB 27,648 MiB
(meta-llama/llama#964). 64 GB is 46.7 GB in the one report that was found; three quarters of
the RAM, the share at 36 GB, would be 51.5 GB."""


def working_set_note(budget_bytes: int, backend: str) -> str:
    """Return that a Mac with a budget's size as its RAM works with less; else nothing."""
    size = WORKING_SETS.get(round(budget_bytes / 1e9))
    if backend != "metal" or size is None or size >= budget_bytes:
        return ""
    return (
        f"note: a Mac with {budget_bytes / 1e9:g} GB of RAM works with {size / 1e9:.2f} GB; for "
        f"one, ask with --budget-gb {size // 10**7 / 100:g}"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one training or generation run.

    Defaults are those of `mlx_lm.lora` (mlx_lm/lora.py 0.32, `CONFIG_DEFAULTS`).

    Attributes:
        batch_size: Rows of a batch.
        max_seq_length: Longest row, tokens; the estimate takes rows that reach it.
        num_layers: Blocks with adapters from the last one; -1 for all.
        rank: Rank of the LoRA matrices.
        keys: Modules of a block that get adapters; None for every linear layer.
        grad_checkpoint: Whether each block is recomputed in the backward pass.
        bits: Bits of the frozen weights; None leaves them unquantized.
        group_size: Weights that share a scale and a bias.
        dtype: Type of everything unquantized: bfloat16, float16 or float32.
        optimizer: adam, adamw, sgd, adafactor or muon.
        grad_accumulation_steps: Batches per update.
        backend: metal, cpu or cuda.
        inference: Whether to generate instead of training.
        prompt_tokens: Length of the prompt.
        generate_tokens: Tokens generated after it.
        kv_bits: Bits of a quantized KV cache; None keeps it in `dtype`.
        fine_tune_type: lora, dora, or full, which trains the blocks themselves.
        dropout: Share of the adapters' inputs that is dropped in training.
        ranks: Processes that share a training, and average their gradients; `batch_size` is the
            part of one of them.
    """

    batch_size: int = 4
    max_seq_length: int = 2048
    num_layers: int = 16
    rank: int = 8
    keys: tuple[str, ...] | None = None
    grad_checkpoint: bool = False
    bits: int | None = 4
    group_size: int = 64
    dtype: str = "bfloat16"
    optimizer: str = "adam"
    grad_accumulation_steps: int = 1
    backend: str = "cpu"
    inference: bool = False
    prompt_tokens: int = 2048
    generate_tokens: int = 128
    kv_bits: int | None = None
    fine_tune_type: str = "lora"
    dropout: float = 0.0
    ranks: int = 1

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Settings:
        """Return settings from what `dataclasses.asdict` and JSON made of them."""
        keys = document["keys"]
        return cls(**{**document, "keys": None if keys is None else tuple(keys)})

    @property
    def quantizes_cache(self) -> bool:
        """Return whether the cache grows long enough for `kv_bits` to count."""
        tokens = self.prompt_tokens + self.generate_tokens
        return self.inference and self.kv_bits is not None and tokens > QUANTIZED_START

    @property
    def row_tokens(self) -> int:
        """Return the width of a batch whose rows reach the limit.

        mlx_lm/tuner/trainer.py pads to one more than a multiple of 32 and cuts at the
        limit; the last token is only a target.
        """
        return self.max_seq_length


def dtype_of(config: Mapping[str, Any]) -> str:
    """Return the type of a model's unquantized weights; bfloat16 where its config has none."""
    text = config.get("text_config")
    parts = [config, text] if isinstance(text, Mapping) else [config]
    names = (part.get(name) for part in parts for name in ("dtype", "torch_dtype"))
    return str(next((name for name in names if name), "bfloat16")).removeprefix("torch.")


def in_words(settings: Settings) -> str:
    """Return the settings in one line of words."""
    weights = f"{settings.bits} bit" if settings.bits else settings.dtype
    if settings.inference:
        return f"{settings.prompt_tokens} + {settings.generate_tokens} tokens, {weights}"
    layers = "all" if settings.num_layers < 0 else str(settings.num_layers)
    return (
        f"{settings.batch_size} x {settings.max_seq_length} tokens"
        f"{f' x {settings.grad_accumulation_steps}' * (settings.grad_accumulation_steps > 1)}, "
        f"{layers} layers, {_trained(settings)}, {weights}, "
        f"checkpointing {'on' if settings.grad_checkpoint else 'off'}"
    )


def _trained(settings: Settings) -> str:
    """Return what is trained of a block in words."""
    if settings.fine_tune_type == "full":
        return "full"
    kind = "DoRA rank" if settings.fine_tune_type == "dora" else "rank"
    dropped = f", dropout {settings.dropout:g}" if settings.dropout else ""
    keys = f" of {', '.join(key.rpartition('.')[2] for key in settings.keys or ())}"
    return f"{kind} {settings.rank}{keys * (settings.keys is not None)}{dropped}"
