"""Loops over tokens are traced for a few tokens and continued to all of them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models import gated_delta

from mlx_preflight.memory import traced_run
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import sequential
from tests.memory.models import MAMBA, QWEN3_5, qwen, small


def test_a_long_row_is_traced_over_few_tokens() -> None:
    """As large as the shorter loops, however long the row is; the interval says so."""
    sizes = []
    for tokens in (1025, 4097):
        with mx.stream(mx.cpu):
            traced = traced_run.build(QWEN3_5, small(max_seq_length=tokens, backend="metal"))
        assert traced.longer is not None
        sizes.append([len(step.graph.nodes) for step in (*traced.steps, *traced.longer)])
        assert any("one token after the other" in text for text in traced.warnings)
    assert sizes[0] == sizes[1]


def test_a_model_without_loops_is_traced_once() -> None:
    """Nothing is cut short, and nothing continued."""
    with mx.stream(mx.cpu):
        assert traced_run.build(qwen(), small(max_seq_length=2049)).longer is None


def test_a_short_row_is_traced_in_full() -> None:
    """Token by token, which is exact."""
    with mx.stream(mx.cpu):
        assert traced_run.build(QWEN3_5, small(max_seq_length=33)).longer is None


def test_a_shortened_loop_has_results_for_all_tokens() -> None:
    """The tokens that are left out are part of what the loop returns; MLX is itself again."""
    loops = sequential.Loops(4)
    before = mx.stack, mx.concatenate
    q = mx.zeros((1, 32, 2, 8))
    g = mx.zeros((1, 32, 2))
    with sequential.shortened(loops), sequential.over(32):
        y, state = gated_delta.gated_delta_ops(q, q, q, g, g)
    assert (loops.cut, loops.count) == (True, 1)
    assert y.shape == (1, 32, 2, 8)
    assert state.shape == (1, 2, 8, 8)
    assert (mx.stack, mx.concatenate) == before
    assert not hasattr(gated_delta, "range")


@pytest.mark.parametrize(
    ("loops", "expected"), [(0, 900), (1, 900), (3, 48), (24, 48), (40, 42), (90, 32)]
)
def test_loops_are_traced_over_enough_tokens_to_fill_a_command_buffer(
    loops: int, expected: int
) -> None:
    """Few tokens in all are traced in full, and never fewer than 32 tokens of a loop."""
    short, long = sequential.lengths(loops, 900)
    assert long == expected
    assert short == (long if expected == 900 else long // 2)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "rel"), [(QWEN3_5, 0.02), (MAMBA, 0.10)])
def test_a_continued_step_has_the_peak_of_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], rel: float
) -> None:
    """At a length that can be traced in full."""
    settings = small(max_seq_length=65, num_layers=1)
    whole = predict(config, settings)
    monkeypatch.setattr(sequential, "FULL", 0)
    continued = predict(config, settings)
    assert continued.peak_bytes == pytest.approx(whole.peak_bytes, rel=rel)
    assert continued.peak_low_bytes <= whole.peak_bytes <= continued.peak_high_bytes
    assert sum(continued.breakdown_bytes.values()) == continued.peak_bytes
    assert max(sum(moment.values()) for moment in continued.timeline) == continued.peak_bytes
    assert continued.costs.all_flops == pytest.approx(whole.costs.all_flops, rel=0.02)
