"""Hugging Face PEFT with TRL's SFT trainer: a library, so the script is one's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.frameworks import configs, torch_trainer
from mlx_preflight.frameworks.framework import Claim, Framework
from mlx_preflight.frameworks.recipe import Recipe, linear
from mlx_preflight.memory.settings import LORA_SCALE

FRAMEWORK = Framework(
    name="peft",
    title="Hugging Face PEFT",
    requirements=(
        ("torch==2.13.0",),
        ("transformers==5.23.0", "peft==0.21.2", "trl==1.16.0", "bitsandbytes==0.50.2"),
    ),
    distribution="peft",
    imports="peft, trl",
    config_file="peft.yaml",
    apple=Claim(
        0.5,
        "runs through PyTorch's MPS backend; the training loop is the user's",
        "peft package metadata",
        "peft 0.21.2",
    ),
    apple_qlora=Claim(
        0.5,
        "4-bit QLoRA is marked as supported on Metal, 8-bit optimizers there as planned",
        "bitsandbytes README.md",
        "95f9af30, 2026-08-19",
    ),
)


def config(recipe: Recipe) -> dict[str, Any]:
    """Return the arguments of `LoraConfig` and `SFTConfig`, under their own names.

    PEFT divides alpha by the rank; the scale of MLX-LM is alpha over rank.
    """
    settings, keys = recipe.settings, recipe.settings.keys
    configs.check_torch(settings, recipe.config, FRAMEWORK.title, bits=(configs.FOUR,))
    names = linear(recipe.config) if keys is None else [key.rpartition(".")[2] for key in keys]
    return {
        "model": recipe.model,
        "load_in_4bit": settings.bits == configs.FOUR,
        "lora": {
            "r": settings.rank,
            "lora_alpha": LORA_SCALE * settings.rank,
            "lora_dropout": float(settings.dropout),
            "target_modules": list(names),
            "layers_to_transform": configs.layers(settings, recipe.config),
            "task_type": "CAUSAL_LM",
        },
        "training": {
            "output_dir": "./outputs",
            "max_length": settings.max_seq_length,
            "max_steps": recipe.steps,
            "per_device_train_batch_size": settings.batch_size,
            "gradient_accumulation_steps": settings.grad_accumulation_steps,
            "gradient_checkpointing": settings.grad_checkpoint,
            "learning_rate": recipe.learning_rate,
            "lr_scheduler_type": "constant",
            "optim": configs.TORCH_OPTIMIZERS[settings.optimizer],
            "weight_decay": configs.DECAY.get(settings.optimizer, 0.0),
            "max_grad_norm": 0.0,
            "bf16": settings.dtype == "bfloat16",
            **({"fp16": True} if settings.dtype == "float16" else {}),
            "use_cpu": settings.backend == "cpu",
            "train_sampling_strategy": "sequential",
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "seed": recipe.seed,
        },
    }


def fit(settings: Mapping[str, Any]) -> None:
    """Train; the lines of this function are what a user has to write."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    four: Any = {}
    if settings["load_in_4bit"]:
        quantization: Any = BitsAndBytesConfig
        four = {"quantization_config": quantization(load_in_4bit=True, bnb_4bit_quant_type="nf4")}
    base = settings["model"]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **four)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**settings["training"]),
        train_dataset=load_dataset("json", data_files="data/train.jsonl", split="train"),
        peft_config=LoraConfig(**settings["lora"]),
    )
    trainer.train()
    trainer.save_model(settings["training"]["output_dir"])


def train(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the script on the configuration file, with transformers' trainer watched."""
    import yaml

    torch_trainer.write_rows(job)
    torch_trainer.watch(job)
    fit(yaml.safe_load(Path(job["config"]).read_text(encoding="utf-8")))
    body = inspect.getsource(fit).splitlines()[2:]
    lines = sum(1 for line in body if line.strip())
    return {"script_lines": lines, "first_batch": torch_trainer.first_batch()}


def answers(job: Mapping[str, Any]) -> dict[str, Any]:
    """Answer without and with the adapter."""
    return torch_trainer.answers(job)


def qlora(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train with the 4-bit file; bitsandbytes quantizes while loading."""
    return train(job)
