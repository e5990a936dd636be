"""Ready-to-run training configs: for `mlx_lm.lora -c`, and for axolotl as the fallback."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import EstimateError, UsageError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.memory.settings import LORA_SCALE, Settings
from mlx_preflight.models.quantization import read_quantization

NAMES = ("lora_config.yaml", "axolotl.yml")
DATA = "./data"
"""Folder with the rows, where none is named."""

QUANTIZED = "./model-quantized"
"""Folder that the conversion named in the file writes."""

TORCH_OPTIMIZERS = {
    "adam": "adamw_torch",
    "adamw": "adamw_torch",
    "sgd": "sgd",
    "adafactor": "adafactor",
}
"""Optimizers of transformers' trainer (training_args.py 5.23); Adam is AdamW without decay."""

DECAY = {"adamw": 0.01}
"""Weight decay that mlx.optimizers' classes have unasked (optimizers.py 0.32)."""

FOUR, EIGHT = BNB_BITS = (4, 8)
BNB_GROUP = 64
"""Widths of bitsandbytes, and the weights that share a scale in its 4-bit form."""


def check_mlx(settings: Settings, config: Mapping[str, Any]) -> None:
    """Refuse what `mlx_lm.lora` cannot be told: it trains the weights as they are stored.

    Raises:
        EstimateError: Such a setting.
    """
    stored = read_quantization(config)
    if stored is not None:
        for name in ("bits", "group_size"):
            if getattr(settings, name) != getattr(stored, name):
                allowed = f"{getattr(stored, name)}, as the weights are quantized already"
                raise EstimateError(name, getattr(settings, name), allowed)
        return
    own = config.get("dtype") or config.get("torch_dtype")
    if settings.bits is None and own is not None and settings.dtype != own:
        allowed = f"{own}, the type that the unquantized weights are stored in"
        raise EstimateError("dtype", settings.dtype, allowed)


def check_torch(
    settings: Settings,
    config: Mapping[str, Any],
    framework: str,
    bits: tuple[int, ...] = BNB_BITS,
) -> None:
    """Refuse what a trainer on transformers and bitsandbytes cannot be told.

    Args:
        settings: The run.
        config: The model's config.json.
        framework: Its name for the message.
        bits: Widths that its file can ask for.

    Raises:
        UsageError: The weights are in MLX's format.
        EstimateError: Such a setting.
    """
    if "quantization" in config:
        raise UsageError(
            f"{framework} cannot read weights that MLX has quantized",
            hint="name the unquantized model; bitsandbytes quantizes it while loading",
        )
    if settings.fine_tune_type != "lora":
        allowed = f"lora in the file written for {framework}"
        raise EstimateError("fine_tune_type", settings.fine_tune_type, allowed)
    if settings.bits is not None and settings.bits not in bits:
        allowed = ", ".join(str(width) for width in (*bits, 16))
        raise EstimateError("bits", settings.bits, f"{allowed} for {framework}")
    if settings.bits == FOUR and settings.group_size != BNB_GROUP:
        raise EstimateError("group_size", settings.group_size, f"{BNB_GROUP} for {framework}")
    if settings.optimizer not in TORCH_OPTIMIZERS:
        allowed = f"{', '.join(TORCH_OPTIMIZERS)} for {framework}"
        raise EstimateError("optimizer", settings.optimizer, allowed)


def layers(settings: Settings, config: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the blocks that get adapters: the last ones."""
    merged = {**config.get("text_config", {}), **config}
    total = int(merged.get("num_hidden_layers", settings.num_layers))
    first = max(0, total - settings.num_layers) if settings.num_layers >= 0 else 0
    return list(range(first, total))


def conversion(model: str, settings: Settings, config: Mapping[str, Any]) -> list[str]:
    """Return the lines that say how to quantize the model first; none where it is not needed."""
    if read_quantization(config) is not None or settings.bits is None:
        return []
    own = config.get("dtype") or config.get("torch_dtype")
    dtype = f"--dtype {settings.dtype} " if own is not None and settings.dtype != own else ""
    command = (
        f"mlx_lm.convert --hf-path {shlex.quote(model)} -q --q-bits {settings.bits} "
        f"--q-group-size {settings.group_size} {dtype}--mlx-path {QUANTIZED}"
    )
    return ["First, once:", f"  {command}"]


def mlx_lm(model: str, settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of `mlx_lm.lora` (names and defaults of mlx_lm/lora.py 0.32).

    Args:
        model: Folder or hub id.
        settings: What fits.
        config: The model's config.json.

    Raises:
        UsageError: MLX-LM cannot be told such a run.
    """
    check_mlx(settings, config)
    parameters: dict[str, Any] = {
        "rank": settings.rank,
        "dropout": float(settings.dropout),
        "scale": LORA_SCALE,
    }
    if settings.keys is not None:
        parameters["keys"] = list(settings.keys)
    return {
        "model": QUANTIZED if conversion(model, settings, config) else model,
        "train": True,
        "fine_tune_type": settings.fine_tune_type,
        "data": DATA,
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

    Raises:
        UsageError: axolotl cannot be told such a run.
    """
    check_torch(settings, config, "axolotl")
    document: dict[str, Any] = {
        "base_model": model,
        "load_in_4bit": settings.bits == FOUR,
        "load_in_8bit": settings.bits == EIGHT,
        "adapter": "qlora" if settings.bits == FOUR else "lora",
        "lora_r": settings.rank,
        "lora_alpha": int(LORA_SCALE * settings.rank),
        "lora_dropout": float(settings.dropout),
        "peft_layers_to_transform": layers(settings, config),
        "sequence_len": settings.max_seq_length,
        "sample_packing": False,
        "micro_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.grad_accumulation_steps,
        "gradient_checkpointing": settings.grad_checkpoint,
        "optimizer": TORCH_OPTIMIZERS[settings.optimizer],
        "weight_decay": DECAY.get(settings.optimizer, 0.0),
        "learning_rate": 1e-5,
        "num_epochs": 1,
        "bf16": settings.dtype == "bfloat16",
        **({"fp16": True} if settings.dtype == "float16" else {}),
        "datasets": [{"path": "./data/train.jsonl", "type": "chat_template", "ds_type": "json"}],
        "output_dir": "./outputs",
    }
    if settings.keys is None:
        document["lora_target_linear"] = True
    else:
        document["lora_target_modules"] = [key.rpartition(".")[2] for key in settings.keys]
    return document


def write(
    folder: Path,
    model: str,
    settings: Settings,
    config: Mapping[str, Any],
    head: str,
    note: Callable[[str], None] = print,
    data: str = DATA,
) -> tuple[Path, ...]:
    """Write both files, or only MLX-LM's where axolotl has no such run; return their paths.

    Args:
        folder: Where to; created if need be.
        model: Folder or hub id.
        settings: What fits.
        config: The model's config.json.
        head: One line on what the settings are predicted to take.
        note: Told why a file is left out.
        data: Folder with the rows.

    Raises:
        UsageError: A file is there already, and nothing is overwritten; or MLX-LM cannot be
            told such a run.
        ResultError: The folder cannot be written.
    """
    import yaml

    for name in NAMES:
        if (folder / name).exists():
            raise UsageError(f"{folder / name} exists", hint="name another folder")
    lines = [head, *conversion(model, settings, config), "Then: mlx_lm.lora -c lora_config.yaml"]
    documents = {NAMES[0]: (lines, mlx_lm(model, settings, config) | {"data": data})}
    try:
        fallback = axolotl(model, settings, config)
        fallback["datasets"][0]["path"] = f"{data}/train.jsonl"
        lines = ["The same run on CUDA, as the fallback: axolotl train axolotl.yml"]
        documents[NAMES[1]] = (lines, fallback)
    except UsageError as error:
        note(f"{NAMES[1]} is not written: {error}")
    for name, (comments, document) in documents.items():
        text = "".join(f"# {line}\n" for line in comments)
        write_text(folder / name, text + yaml.safe_dump(document, sort_keys=False))
    return tuple(folder / name for name in documents)
