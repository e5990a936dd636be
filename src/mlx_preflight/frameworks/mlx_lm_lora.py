"""MLX-LM: `mlx_lm.lora -c lora_config.yaml`, as its own command runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.frameworks import configs
from mlx_preflight.frameworks.framework import Claim, Framework
from mlx_preflight.frameworks.recipe import Recipe
from mlx_preflight.frameworks.steps import Recorder

FRAMEWORK = Framework(
    name="mlx-lm",
    title="MLX-LM",
    requirements=(("mlx-lm>=0.32,<0.33", "mlx[cpu]>=0.32,<0.33; sys_platform == 'linux'"),),
    distribution="mlx-lm",
    imports="mlx_lm",
    config_file="lora_config.yaml",
    apple=Claim(
        1.0,
        "on macOS the array framework depends on a Metal backend package of its own version",
        "mlx package metadata",
        "mlx 0.32.4",
    ),
    apple_qlora=Claim(
        1.0,
        "training uses QLoRA when the base model is quantized",
        "mlx_lm/LORA.md",
        "mlx-lm 0.32.2",
    ),
    before=lambda run: configs.conversion(run.model, run.settings, run.config),
)

OPTIMIZER_CONFIG: dict[str, dict[str, bool]] = {
    "adam": {"bias_correction": True},
    "adamw": {"bias_correction": True},
    "adafactor": {"relative_step": False, "scale_parameter": False},
}
"""Settings that make MLX's optimizers those of PyTorch and transformers, which correct Adam's bias
and leave Adafactor's rate alone."""

PAD_TO = 32
"""Rows are padded to one more than a multiple of it (trainer.py, `iterate_batches`)."""


def config(recipe: Recipe) -> dict[str, Any]:
    """Return the file of `mlx_lm.lora -c`.

    Raises:
        UsageError: MLX-LM cannot be told such a run.
    """
    settings = recipe.settings
    document = configs.mlx_lm(recipe.model, settings, recipe.config)
    options = OPTIMIZER_CONFIG.get(settings.optimizer)
    return {
        **document,
        "seed": recipe.seed,
        "iters": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "steps_per_report": 1,
        "save_every": recipe.steps,
        **({"optimizer_config": {settings.optimizer: options}} if options else {}),
    }


def train(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run `mlx_lm.lora -c` in this process, with a recorder as its reporting callback."""
    from mlx_lm import lora

    order = write_rows(job)
    recorder = Recorder(job["steps_file"], job["started"])
    tokens = 0

    class Report:
        def on_train_loss_report(self, info: dict[str, Any]) -> None:
            nonlocal tokens
            trained = int(info["trained_tokens"])
            recorder.step(float(info["train_loss"]), trained - tokens)
            tokens = trained

        def on_val_loss_report(self, info: dict[str, Any]) -> None:
            pass

    lora.get_reporting_callbacks = lambda *_, **__: Report()
    sys.argv = ["mlx_lm.lora", "-c", job["config"]]
    lora.main()
    return {"script_lines": 0, "row_order": order}


def write_rows(job: Mapping[str, Any]) -> str:
    """Write the rows so that MLX-LM's shuffle (trainer.py, `iterate_batches`) restores them.

    Its batches are neighbours in the file, drawn by `np.random.permutation` after
    `np.random.seed(seed)`; the file is therefore written in the inverse order.
    """
    import numpy as np

    size, rows = int(job["batch_size"]), job["rows"]
    count = len(rows) // size
    order = np.random.RandomState(job["seed"]).permutation(count)
    placed: list[Any] = [None] * (count * size)
    for turn, slot in enumerate(order):
        placed[slot * size : (slot + 1) * size] = rows[turn * size : (turn + 1) * size]
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in placed)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    return "inverse of its shuffle"


def answers(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load the adapter back with `mlx_lm.load` and answer greedily, without it and with it."""
    from mlx_lm import generate, load

    said: list[list[str]] = []
    for adapter in (None, job["adapter"]):
        loaded = load(job["model"], adapter_path=adapter)
        model, tokenizer = loaded[0], loaded[1]
        said.append([])
        for question in job["questions"]:
            chat = [{"role": "user", "content": question}]
            prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
            text = generate(model, tokenizer, prompt, max_tokens=job["answer_tokens"])
            said[-1].append(text)
    return {"without": said[0], "with": said[1]}


def qlora(job: Mapping[str, Any]) -> dict[str, Any]:
    """Quantize with `mlx_lm.convert -q`, then train as always."""
    from mlx_lm import convert

    convert(job["model"], configs.QUANTIZED, quantize=True, q_bits=4, q_group_size=64)
    return train(job)


def probe(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loss of every target of the first batch, and of a row that must be padded.

    With B = 0 the first loss is the base model's, so these explain any other framework's:
    it is their mean over the targets that the other one keeps. `default_loss` (trainer.py)
    keeps targets up to and including position `length`; where a row is padded that is one
    padding token, which frameworks with masked labels leave out.
    """
    import mlx.core as mx
    from mlx import nn
    from mlx_lm import load
    from mlx_lm.tuner.datasets import ChatDataset
    from mlx_lm.tuner.trainer import default_loss

    loaded = load(job["model"])
    model, tokenizer = loaded[0], loaded[1]
    short = [{"role": "user", "content": "add"}, {"role": "assistant", "content": "sum"}]
    data = ChatDataset([*job["rows"][: job["batch_size"]], {"messages": short}], tokenizer)
    *rows, row = [data.process(data[n])[0] for n in range(len(data))]
    tokens = mx.array(rows)
    losses = nn.losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
    width = 1 + PAD_TO * ((len(row) + PAD_TO - 1) // PAD_TO)
    batch = mx.array([[*row, *[0] * (width - len(row))]])
    counted, _ = default_loss(model, batch, mx.array([[0, len(row)]]))
    left_out, _ = default_loss(model, batch, mx.array([[0, len(row) - 1]]))
    return {
        "tokens": rows,
        "losses": losses.tolist(),
        "padding_counted": counted.item(),
        "padding_left_out": left_out.item(),
    }
