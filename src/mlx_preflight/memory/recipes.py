"""Write ready-to-run training configs: for `mlx_lm.lora -c`, and for axolotl as the fallback."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.errors import EstimateError, UsageError
from mlx_preflight.memory import quantization
from mlx_preflight.memory.architecture import LORA_SCALE
from mlx_preflight.memory.settings import Settings
from mlx_preflight.result import write_text

NAMES = ("lora_config.yaml", "axolotl.yml")
QUANTIZED = "./model-quantized"
"""Folder that the conversion named in the file writes."""


def mlx_lm(model: str, settings: Settings, *, quantized: bool) -> dict[str, Any]:
    """Return the config of `mlx_lm.lora` (names and defaults of mlx_lm/lora.py 0.32).

    Args:
        model: Folder or hub id.
        settings: What fits.
        quantized: Whether `model` has quantized weights already.
    """
    parameters: dict[str, Any] = {"rank": settings.rank, "dropout": 0.0, "scale": LORA_SCALE}
    if settings.keys is not None:
        parameters["keys"] = list(settings.keys)
    return {
        "model": model if quantized or settings.bits is None else QUANTIZED,
        "train": True,
        "fine_tune_type": "lora",
        "data": "./data",
        "adapter_path": "./adapters",
        "seed": 0,
        "iters": 1000,
        "batch_size": settings.batch_size,
        "grad_accumulation_steps": settings.grad_accumulation_steps,
        "max_seq_length": settings.max_seq_length,
        "num_layers": settings.num_layers,
        "grad_checkpoint": settings.grad_checkpoint,
        "optimizer": settings.optimizer,
        "lora_parameters": parameters,
    }


def axolotl(model: str, settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same run for axolotl (field names of axolotl 0.19's schema).

    MLX-LM's scale multiplies B·A; axolotl divides `lora_alpha` by the rank first. Four bits
    are `load_in_4bit`, eight `load_in_8bit`; it has no others.
    """
    total = int(config.get("num_hidden_layers", settings.num_layers))
    first = max(0, total - settings.num_layers) if settings.num_layers >= 0 else 0
    document: dict[str, Any] = {
        "base_model": model,
        "load_in_4bit": settings.bits == 4,  # noqa: PLR2004
        "load_in_8bit": settings.bits == 8,  # noqa: PLR2004
        "adapter": "qlora" if settings.bits == 4 else "lora",  # noqa: PLR2004
        "lora_r": settings.rank,
        "lora_alpha": int(LORA_SCALE * settings.rank),
        "lora_dropout": 0.0,
        "peft_layers_to_transform": list(range(first, total)),
        "sequence_len": settings.max_seq_length,
        "sample_packing": False,
        "micro_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.grad_accumulation_steps,
        "gradient_checkpointing": settings.grad_checkpoint,
        "optimizer": {"adam": "adamw_torch", "adamw": "adamw_torch"}.get(
            settings.optimizer, settings.optimizer
        ),
        "learning_rate": 1e-5,
        "num_epochs": 1,
        "bf16": settings.dtype == "bfloat16",
        "datasets": [{"path": "./data/train.jsonl", "type": "chat_template", "ds_type": "json"}],
        "output_dir": "./outputs",
    }
    if settings.keys is None:
        document["lora_target_linear"] = True
    else:
        document["lora_target_modules"] = [key.rpartition(".")[2] for key in settings.keys]
    return document


def write(
    folder: Path, model: str, settings: Settings, config: Mapping[str, Any], head: str
) -> tuple[Path, ...]:
    """Write both files and return their paths.

    Args:
        folder: Where to; created if need be.
        model: Folder or hub id.
        settings: What fits.
        config: The model's config.json.
        head: One line on what the settings are predicted to take.

    Raises:
        UsageError: A file is there already; nothing is overwritten.
        EstimateError: Bits that a quantized checkpoint does not have.
        ResultError: The folder cannot be written.
    """
    import yaml  # noqa: PLC0415  (only here)

    for name in NAMES:
        if (folder / name).exists():
            raise UsageError(f"{folder / name} exists", hint="name another folder")
    stored = quantization.stored(config)
    if stored is not None and not stored.fits(settings):
        raise EstimateError(
            "bits",
            settings.bits,
            f"{stored.bits} in groups of {stored.group_size}, as the checkpoint stores them",
            hint="name the unquantized model to train it with other bits",
        )
    quantized = stored is not None
    lines = [f"# {head}"]
    if not quantized and settings.bits is not None:
        lines += [
            "# First, once:",
            (
                f"#   mlx_lm.convert --hf-path {shlex.quote(model)} --dtype {settings.dtype} "
                f"-q --q-bits {settings.bits} --q-group-size {settings.group_size} "
                f"--mlx-path {QUANTIZED}"
            ),
        ]
    documents = (
        [*lines, "# Then: mlx_lm.lora -c lora_config.yaml"],
        mlx_lm(model, settings, quantized=quantized),
    ), (
        ["# The same run on CUDA, as the fallback: axolotl train axolotl.yml"],
        axolotl(model, settings, config),
    )
    written = []
    for name, (comments, document) in zip(NAMES, documents, strict=True):
        text = "\n".join(comments) + "\n" + yaml.safe_dump(document, sort_keys=False)
        write_text(folder / name, text)
        written.append(folder / name)
    return tuple(written)
