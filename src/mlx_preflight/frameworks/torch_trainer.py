"""Transformers' trainer watched from outside, and answers with a PEFT adapter.

axolotl and TRL both train through `transformers.Trainer`, and both write adapters in
PEFT's layout. Imported inside their venvs only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.frameworks.steps import Recorder

MASKED = -100
"""Label of a token that is no target."""

FIRST_BATCH = Path("first_batch.json")


def write_rows(job: Mapping[str, Any]) -> None:
    """Write the rows in the order of training; the sampler is told to keep it."""
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in job["rows"])
    (folder / "train.jsonl").write_text(text, encoding="utf-8")


def first_batch() -> dict[str, Any]:
    """Return the tokens of the first batch and which of them, but the first, are targets."""
    found: dict[str, Any] = read_json(FIRST_BATCH)
    return found


def watch(job: Mapping[str, Any]) -> None:
    """Make every trainer of this process report its steps.

    The loss is the one that is differentiated, before any rounding of a log, and a step
    ends after the optimizer's update.
    """
    from transformers import Trainer, TrainerCallback

    recorder = Recorder(job["steps_file"], job["started"])
    last: dict[str, Any] = {}
    prepare, step = Trainer.__init__, Trainer.training_step

    class Report(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            recorder.step(last["loss"], last["tokens"])

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        prepare(self, *arguments, **options)
        self.add_callback(Report())

    def training_step(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        targets = inputs["labels"][:, 1:] != MASKED
        if not last:
            first = {"tokens": inputs["input_ids"].tolist(), "targets": targets.tolist()}
            write_json(FIRST_BATCH, first)
        tokens = int(targets.sum())
        loss = step(self, model, inputs, *rest, **options)
        last.update(loss=float(loss), tokens=tokens)
        return loss

    trainer: Any = Trainer
    trainer.__init__, trainer.training_step = init, training_step


def answers(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load the adapter back with PEFT and answer greedily, without it and with it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(job["model"])
    model: Any = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)

    def ask() -> list[str]:
        said: list[str] = []
        for question in job["questions"]:
            chat = [{"role": "user", "content": question}]
            prompt = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            tokens = model.generate(**prompt, do_sample=False, max_new_tokens=job["answer_tokens"])
            new = tokens[0, prompt["input_ids"].shape[1] :]
            said.append(str(tokenizer.decode(new, skip_special_tokens=True)))
        return said

    without = ask()
    model = PeftModel.from_pretrained(model, job["adapter"])
    return {"without": without, "with": ask()}
