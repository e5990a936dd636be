"""Options of `mlx-preflight data`: the settings of a run that decide what is seen of its data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.plan.options import TrainingRequest, flag_of, option


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Options under mlx_lm.lora's names; None takes the config's value, or mlx-lm's default."""

    model: str | None = option(None, "Model folder or hub id; its tokenizer suffices.")
    config: str | None = option(None, "YAML of mlx_lm.lora whose other settings count.")
    mask_prompt: bool = option(False, "Train on the answers only.", flag="--mask-prompt")
    batch_size: int | None = option(None, "Rows of a batch.", least=1)
    max_seq_length: int | None = option(None, "Longest row, tokens.", least=1)
    iters: int | None = option(None, "Iterations.", least=1)
    seed: int | None = option(None, "Seed that decides the order of the batches.", least=0)
    val_batches: int | None = option(None, "Batches of a validation; -1 for all.", least=-1)
    steps_per_eval: int | None = option(None, "Iterations between validations.", least=1)

    def request(self, folder: Path) -> TrainingRequest:
        """Return the training run on a folder of rows."""
        given = {"data": folder, **dataclasses.asdict(self)}
        values = [(flag_of(k), str(v)) for k, v in given.items() if v not in {None, False}]
        arguments = [
            part
            for flag, value in values
            for part in ((flag,) if value == "True" else (flag, value))
        ]
        return TrainingRequest(("--train", *arguments))
