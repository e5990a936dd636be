"""An axolotl file as the same run of `mlx_lm.lora`, as far as `export` writes such files.

Names and meaning are those of axolotl 0.19's schema, as `frameworks.configs` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SAME = {
    "base_model": "model",
    "sequence_len": "max_seq_length",
    "micro_batch_size": "batch_size",
    "gradient_accumulation_steps": "grad_accumulation_steps",
    "gradient_checkpointing": "grad_checkpoint",
    "learning_rate": "learning_rate",
    "max_steps": "iters",
    "output_dir": "adapter_path",
    "seed": "seed",
}
"""Keys that another name says the same."""

OPTIMIZERS = {"adamw_torch": "adamw", "sgd": "sgd", "adafactor": "adafactor"}

WITHOUT_EFFECT = frozenset(
    {
        *("load_in_4bit", "load_in_8bit", "bf16", "fp16", "tf32", "flash_attention", "adapter"),
        *("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"),
        *("sample_packing", "train_on_inputs", "chat_template", "dataset_prepared_path"),
        *("dataset_num_proc", "shuffle_merged_datasets", "curriculum_sampling", "lr_scheduler"),
        *("warmup_steps", "max_grad_norm", "logging_steps", "save_strategy"),
        *("peft_layers_to_transform", "lora_r", "lora_alpha", "lora_dropout", "optimizer"),
        *("lora_target_linear", "lora_target_modules", "weight_decay", "num_epochs", "datasets"),
    }
)
"""Keys that are translated together, or that say how axolotl itself runs."""


def is_axolotl(values: Mapping[str, Any]) -> bool:
    """Return whether a config is one of axolotl's."""
    return "base_model" in values and "model" not in values


def translated(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the settings of `mlx_lm.lora`; a key that is not known stays, and is not read.

    Args:
        values: The file.
        folder: Folder that relative paths start from.
    """
    found: dict[str, Any] = {"train": True}
    found |= {new: values[old] for old, new in SAME.items() if old in values}
    found |= dict(_adapters(values))
    rows = values.get("datasets")
    if isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
        file = Path(str(rows[0].get("path", "")))
        found["data"] = str(file.parent if file.suffix == ".jsonl" else file)
        if "max_steps" not in values and isinstance(values.get("num_epochs"), int):
            found["iters"] = values["num_epochs"] * _batches(folder / file, found)
    optimizer = values.get("optimizer")
    found["optimizer"] = OPTIMIZERS.get(str(optimizer), optimizer or "adamw")
    if "weight_decay" in values and found["optimizer"] == "adamw":
        found["optimizer_config"] = {"adamw": {"weight_decay": values["weight_decay"]}}
    unknown = values.keys() - SAME.keys() - WITHOUT_EFFECT
    return found | {name: values[name] for name in unknown}


def _adapters(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    rank, alpha = values.get("lora_r"), values.get("lora_alpha")
    if isinstance(rank, int) and isinstance(alpha, int | float) and rank > 0:
        parameters = {"rank": rank, "scale": alpha / rank}
        parameters["dropout"] = values.get("lora_dropout", 0.0)
        yield "lora_parameters", parameters
    blocks = values.get("peft_layers_to_transform")
    yield "num_layers", len(blocks) if isinstance(blocks, list) else -1


def _batches(file: Path, settings: Mapping[str, Any]) -> int:
    """Return the batches of one epoch, by the lines of a file; at least 1."""
    if not file.is_file():
        return 1
    with file.open("rb") as stream:
        lines = sum(1 for _ in stream)
    size = settings.get("batch_size", 1)
    return max(1, lines // size if isinstance(size, int) and size > 0 else 1)
