"""The rows that every framework trains on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from mlx_preflight.frameworks import mlx_lm_lora, recipe, rows

TEMPLATE = "<|im_start|>{role}\n{content}<|im_end|>\n"


def test_every_row_has_exactly_the_length_that_is_asked_for() -> None:
    """The embedded tokenizer and template give 128 tokens for each of 200 rows."""
    tokenizer = Tokenizer.from_file(str(recipe.EMBEDDED / "tokenizer.json"))
    for row in rows.generate(200):
        text = "".join(TEMPLATE.format(**message) for message in row["messages"])
        assert len(tokenizer.encode(text).ids) == rows.ROW_TOKENS
    assert recipe.embedded().settings.max_seq_length == rows.ROW_TOKENS


def test_a_seed_gives_the_same_rows_and_another_seed_others() -> None:
    """Order and content are those of the seed."""
    assert rows.digest(rows.generate(8, 1)) == rows.digest(rows.generate(8, 1))
    assert rows.digest(rows.generate(8, 1)) != rows.digest(rows.generate(8, 2))
    assert rows.generate(8) == rows.generate(12)[:8]


def test_mlx_lm_draws_the_rows_in_the_order_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own trainer's shuffle turns the file back into the order of the rows."""
    import numpy as np
    from mlx_lm.tuner.datasets import CacheDataset
    from mlx_lm.tuner.trainer import iterate_batches

    monkeypatch.chdir(tmp_path)
    wanted = [{"tokens": [number] * 8} for number in range(12)]
    mlx_lm_lora.write_rows({"rows": wanted, "batch_size": 2, "seed": 7})
    lines = (tmp_path / "data" / "train.jsonl").read_text().splitlines()
    placed = [json.loads(line) for line in lines]
    assert placed != wanted

    class Rows(list[dict[str, Any]]):
        def process(self, row: dict[str, Any]) -> tuple[list[int], int]:
            return row["tokens"], 0

    np.random.seed(7)  # as `mlx_lm.lora` does before it trains
    batches = iterate_batches(CacheDataset(Rows(placed)), 2, 8)
    drawn = [batch.tolist() for batch, _ in batches]
    assert drawn == [[wanted[n]["tokens"], wanted[n + 1]["tokens"]] for n in range(0, 12, 2)]
