"""What a change of a run buys, from the run's own prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlx_preflight.memory import explain
from mlx_preflight.memory.predict import predict
from tests.memory.models import qwen, small

RUN = small(batch_size=2, max_seq_length=513, backend="metal", bits=4, dtype="bfloat16")


@pytest.mark.slow
def test_every_change_is_priced_in_bytes_and_share() -> None:
    """Settings by their own prediction, kernels by what they would not hold."""
    config = qwen(vocab_size=8000)
    found = predict(config, RUN)
    priced = {item.name: item for item in explain.alternatives(config, found)}
    assert len(priced) == 6
    rank = priced["rank 4"]
    assert rank.peak_bytes == predict(config, replace(RUN, rank=4)).peak_bytes
    assert priced["adapters of the attention only"].saved_bytes > 0
    loss = next(item for name, item in priced.items() if "fused loss" in name)
    scores = next(item for name, item in priced.items() if "fused backward" in name)
    assert loss.needs == scores.needs == explain.OTHER_TRAINER
    assert 0 < loss.saved_bytes <= found.breakdown_bytes["logits and loss"]
    assert scores.saved_bytes >= 0
    for item in priced.values():
        assert item.saved_bytes == found.peak_bytes - item.peak_bytes
        assert item.share == pytest.approx(item.saved_bytes / found.peak_bytes)


def test_the_order_of_rows_and_packing_save_no_memory() -> None:
    """The widest batch has the peak, and a packed row is as long as the limit."""
    found = predict(qwen(), small(fine_tune_type="full"))
    priced = explain.alternatives(qwen(), found)
    words = [item for item in priced if "the same peak" in item.name]
    assert [item.saved_bytes for item in words] == [0, 0]
