"""A prediction adds up, moves the right way and agrees with real runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mlx_preflight.memory import traced_run
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import Prediction, predict
from mlx_preflight.memory.replay.breakdown import CATEGORIES
from tests.memory.models import qwen, small

SEVEN_B = qwen(
    hidden_size=3584,
    num_hidden_layers=28,
    intermediate_size=18944,
    num_attention_heads=28,
    num_key_value_heads=4,
    vocab_size=152064,
    tie_word_embeddings=False,
    max_position_embeddings=32768,
)


def adds_up(found: Prediction) -> None:
    """Check what holds for every prediction."""
    assert set(found.breakdown_bytes) == set(CATEGORIES)
    assert sum(found.breakdown_bytes.values()) == found.peak_bytes
    assert all(value >= 0 for value in found.breakdown_bytes.values())
    assert found.peak_low_bytes < found.peak_bytes < found.peak_high_bytes
    assert max(sum(moment.values()) for moment in found.timeline) == found.peak_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({}, {"bits": 4, "num_layers": 2, "grad_checkpoint": True}),
        (
            {"model_type": "gemma2", "head_dim": 32},
            {"dtype": "bfloat16", "batch_size": 2, "grad_accumulation_steps": 2},
        ),
        ({"model_type": "phi3", "num_key_value_heads": 2}, {"keys": ("self_attn.qkv_proj",)}),
        ({}, {"inference": True, "prompt_tokens": 700, "generate_tokens": 12, "bits": 4}),
    ],
)
def test_a_real_run_peaks_where_it_was_predicted(
    config: dict[str, Any], changes: dict[str, Any]
) -> None:
    """MLX-LM's own trainer and generator, in a fresh process, within the interval and 6 %."""
    config, settings = qwen(**config), small(**changes)
    found = predict(config, settings)
    steps = 4 * settings.grad_accumulation_steps
    measured = measure(config, settings, steps=steps, timeout_s=120)
    adds_up(found)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes
    assert found.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.06)
    assert measured.before_bytes < measured.peak_bytes
    assert measured.process_peak_bytes > measured.peak_bytes
    assert measured.tokens_per_s > 0
    expected = settings.generate_tokens if settings.inference else steps
    assert len(measured.step_s) == expected


@pytest.mark.slow
@hypothesis_settings(max_examples=10, deadline=None, derandomize=True)
@given(
    tokens=st.integers(48, 160),
    batch=st.integers(1, 3),
    layers=st.integers(1, 2),
    rank=st.integers(1, 16),
    bits=st.sampled_from([None, 4, 8]),
    checkpoint=st.booleans(),
    backend=st.sampled_from(["cpu", "metal", "cuda"]),
)
def test_more_work_never_takes_less(
    tokens: int,
    batch: int,
    layers: int,
    rank: int,
    bits: int | None,
    checkpoint: bool,
    backend: str,
) -> None:
    """A longer row, a larger batch and another layer do not lower the peak."""
    chosen = {
        "max_seq_length": tokens,
        "batch_size": batch,
        "num_layers": layers,
        "rank": rank,
        "bits": bits,
        "grad_checkpoint": checkpoint,
        "backend": backend,
    }
    base = predict(qwen(), small(**chosen))
    adds_up(base)
    for name, more in (("max_seq_length", 40), ("batch_size", 1), ("num_layers", 1)):
        other = predict(qwen(), small(**{**chosen, name: getattr(base.settings, name) + more}))
        # The order of evaluation changes with the size, so small steps may gain a little.
        assert other.peak_bytes > base.peak_bytes * 0.96, name
    assert base.weight_bytes <= base.peak_bytes


@pytest.mark.slow
def test_parameters_of_a_published_model_are_exact() -> None:
    """7.615 billion parameters, 11.5 million of them trained with rank 8 on 16 layers."""
    settings = small(max_seq_length=128, num_layers=16, bits=4, backend="metal", dtype="bfloat16")
    found = predict(SEVEN_B, settings)
    assert found.parameters == 7_615_616_512
    assert found.trainable_parameters == 11_534_336
    assert found.breakdown_bytes["weights"] == pytest.approx(4.284e9, rel=0.001)
    adds_up(found)


@pytest.mark.slow
def test_checkpointing_trades_saved_activations() -> None:
    """With it fewer activations wait for the backward pass and the peak is lower."""
    changes = {"max_seq_length": 1025, "num_layers": -1, "bits": 4, "backend": "metal"}
    off = predict(SEVEN_B, small(**changes))
    on = predict(SEVEN_B, small(**changes, grad_checkpoint=True))
    assert on.breakdown_bytes["saved activations"] < off.breakdown_bytes["saved activations"] / 10
    assert on.peak_bytes < off.peak_bytes / 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "metal"])
def test_a_longer_answer_grows_the_cache(backend: str) -> None:
    """The KV cache of a generation is counted, and a quantized one is smaller."""
    changes = {"inference": True, "prompt_tokens": 300, "backend": backend}
    short = predict(qwen(), small(**changes, generate_tokens=8))
    long = predict(qwen(), small(**changes, generate_tokens=3000))
    adds_up(short)
    adds_up(long)
    assert long.breakdown_bytes["KV cache"] > 4 * short.breakdown_bytes["KV cache"] > 0
    assert short.trainable_parameters == 0


@pytest.mark.parametrize(("prompt", "grown"), [(5, 1024), (255, 1024), (256, 1024), (257, 1280)])
def test_the_last_growth_of_the_cache_is_traced(prompt: int, grown: int) -> None:
    """The cache grows by whole steps, wherever the prompt ended; old and new live together."""
    settings = small(inference=True, prompt_tokens=prompt, generate_tokens=1024)
    step = traced_run.build(qwen(), settings).steps[-1]
    labels = step.graph.labels
    before = {step.graph.shapes[item][2] for item, name in labels.items() if name == "KV cache"}
    after = {step.graph.shapes[item][2] for item in step.outputs}
    assert (before, after, step.keys) == ({grown}, {grown + 256}, grown + 1)


@pytest.mark.slow
def test_a_real_answer_peaks_where_its_cache_grew() -> None:
    """After a short prompt, the last growth of the cache is the peak."""
    config, settings = qwen(), small(inference=True, prompt_tokens=5, generate_tokens=1100)
    found = predict(config, settings)
    measured = measure(config, settings, timeout_s=120)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes


@pytest.mark.slow
def test_the_interval_covers_buffers_that_are_reused_too_large() -> None:
    """With short rows the optimizer has the peak, in buffers of the step before."""
    config = qwen(hidden_size=256, num_attention_heads=4, num_hidden_layers=6)
    settings = small(bits=4, dtype="bfloat16", max_seq_length=32)
    found = predict(config, settings)
    measured = measure(config, settings, steps=6, timeout_s=120)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes
    more = predict(config, small(bits=4, dtype="bfloat16", max_seq_length=32, backend="metal"))
    assert found.peak_high_bytes / found.peak_bytes > 1.1
    assert more.peak_high_bytes == pytest.approx(1.15 * more.peak_bytes, rel=1e-6)


@pytest.mark.parametrize(("prompt", "smaller"), [(4000, False), (9000, True)])
def test_a_cache_is_quantized_after_five_thousand_tokens(prompt: int, smaller: bool) -> None:
    """mlx_lm keeps the cache as it is before, and its attention over eight bits is not fused."""
    changes = {"inference": True, "prompt_tokens": prompt, "backend": "metal", "dtype": "bfloat16"}
    config = qwen(max_position_embeddings=16384)
    plain, eight = (predict(config, small(**changes, kv_bits=bits)) for bits in (None, 8))
    adds_up(eight)
    assert (eight.breakdown_bytes["KV cache"] < plain.breakdown_bytes["KV cache"]) is smaller
    assert (eight.breakdown_bytes["attention scores"] > 0) is smaller
