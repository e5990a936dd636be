"""axolotl: `axolotl train axolotl.yml --launcher python`, as its own command runs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mlx_preflight.frameworks import configs, torch_trainer
from mlx_preflight.frameworks.framework import Claim, Framework
from mlx_preflight.frameworks.recipe import Recipe, linear

FRAMEWORK = Framework(
    name="axolotl",
    title="axolotl",
    # torch first and alone: axolotl's own requirement would take the CUDA build on Linux.
    requirements=(("torch==2.13.0",), ("axolotl==0.19.0",)),
    distribution="axolotl",
    imports="axolotl.cli.train, axolotl.train",
    config_file="axolotl.yml",
    apple=Claim(0.5, "support for Mac M-series is partial", "docs/mac.qmd", "067b021c, 2026-07-24"),
    apple_qlora=Claim(
        0.0,
        "QLoRA and bitsandbytes are unticked on its page on Macs",
        "docs/mac.qmd",
        "067b021c, 2026-07-24",
    ),
)

CPU = (
    *("bf16", "fp16", "tf32", "flash_attention"),
    *("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"),
)
"""Options that must be off without CUDA; its Triton kernels are on unless told otherwise."""


def config(recipe: Recipe) -> dict[str, Any]:
    """Return the file of `axolotl train`: the one `fit --write` makes, and the run around it.

    Every turn is trained on, as MLX-LM does unasked, but for the template's own tokens,
    which its `chat_template` strategy always masks. Rows keep their order, gradients are
    not clipped and the rate is constant, as there.
    """
    settings = recipe.settings
    document = configs.axolotl(recipe.model, settings, recipe.config)
    if settings.keys is None:
        del document["lora_target_linear"]
        document["lora_target_modules"] = list(linear(recipe.config))
    rows = {**document["datasets"][0], "roles_to_train": ["user", "assistant"]}
    return {
        **document,
        **(dict.fromkeys(CPU, False) if settings.backend == "cpu" else {}),
        "learning_rate": recipe.learning_rate,
        "max_steps": recipe.steps,
        "datasets": [rows],
        "train_on_inputs": True,
        "chat_template": "tokenizer_default",
        "dataset_prepared_path": "./prepared",
        "dataset_num_proc": 1,
        "shuffle_merged_datasets": False,
        "curriculum_sampling": True,
        "lr_scheduler": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "seed": recipe.seed,
    }


def train(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run axolotl's own command in this process, with transformers' trainer watched."""
    torch_trainer.write_rows(job)
    torch_trainer.watch(job)
    from axolotl.cli.main import cli

    sys.argv = ["axolotl", "train", job["config"], "--launcher", "python"]
    cli.main(standalone_mode=False)
    return {"script_lines": 0, "first_batch": torch_trainer.first_batch()}


def answers(job: Mapping[str, Any]) -> dict[str, Any]:
    """Answer without and with the adapter, which is in PEFT's layout."""
    return torch_trainer.answers(job)


def qlora(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train with the 4-bit file; bitsandbytes quantizes while loading."""
    return train(job)
