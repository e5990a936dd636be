"""Checkpointing is traced whatever a model's layers hand to each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import mlx.core as mx
import pytest

from mlx_preflight.memory import architecture
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import trace
from mlx_preflight.memory.replay.graph import Graph
from tests.memory.models import qwen, small

SHARED: dict[str, Any] = qwen(
    model_type="gemma4_text",
    head_dim=64,
    global_head_dim=64,
    num_hidden_layers=4,
    num_kv_shared_layers=2,
    sliding_window=32,
    layer_types=["sliding_attention", "full_attention"] * 2,
    hidden_size_per_layer_input=16,
    vocab_size_per_layer_input=1000,
)
"""Layers return three things, and the last two read the keys of earlier ones."""

LOOPED = qwen(model_type="nanbeige", num_loops=2, tie_word_embeddings=False)
"""A norm stands between two rounds through the same layers."""

NAMED: dict[str, Any] = {
    "model_type": "gptj",
    "n_embd": 128,
    "n_head": 4,
    "n_inner": 256,
    "n_layer": 2,
    "n_positions": 512,
    "rotary_dim": 16,
    "layer_norm_epsilon": 1e-5,
    "vocab_size": 1000,
}
"""Layers are called with every argument by name."""

SKIPPED = qwen(model_type="talkie", tie_word_embeddings=False)
"""Layers read the embedding first and the state second."""

CASES = {"gemma4_text": SHARED, "nanbeige": LOOPED, "gptj": NAMED, "talkie": SKIPPED}


def graph(config: dict[str, Any], **changes: Any) -> Graph:
    """Return the training step of a small model."""
    settings = small(grad_checkpoint=True, **changes)
    with mx.stream(mx.cpu):
        model = architecture.build(config, settings)
        architecture.adapt(model, settings)
        return trace.training(model, settings)[-1].graph


@pytest.mark.parametrize("name", CASES)
def test_every_call_of_a_layer_is_checkpointed(name: str) -> None:
    """Each once forwards and, as all are trained, once backwards."""
    config = CASES[name]
    names = Counter(node.name for node in graph(config).nodes)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    calls = layers * config.get("num_loops", 1)
    assert names["CustomTransforms"] == calls
    assert names["Depends"] == calls


def test_a_chain_of_layers_keeps_its_shape() -> None:
    """The last block only: its backward pass alone depends on results."""
    names = Counter(node.name for node in graph(qwen(), num_layers=1).nodes)
    assert (names["CustomTransforms"], names["Depends"]) == (3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_checkpointed_training_peaks_where_it_was_predicted(name: str) -> None:
    """In a fresh process, with MLX-LM's own trainer."""
    compare(CASES[name])


@pytest.mark.slow
def test_an_adapter_of_the_embedding_trains_beside_checkpointed_layers() -> None:
    """Its gradient comes after that of the first layer's input."""
    compare(qwen(), keys=("model.embed_tokens", "self_attn.q_proj"))


def compare(config: dict[str, Any], **changes: Any) -> None:
    settings = small(grad_checkpoint=True, max_seq_length=129, **changes)
    found = predict(config, settings)
    measured = measure(config, settings, steps=4, timeout_s=120)
    assert found.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.04)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes
