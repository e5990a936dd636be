"""Slices of models: their kinds of block, the weights of their figures, and drawn weights."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from mlx_preflight.memory import architecture, slices
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from tests.memory.models import qwen
from tests.memory.test_adapters import GEMMA4_E4B, QWEN3_30B, QWEN35_4B

QWEN_7B = source.find("qwen2.5-coder-7b").config


@pytest.mark.parametrize(
    ("config", "layers", "most"),
    [
        (QWEN_7B, 16, 4),
        (QWEN_7B, -1, 4),
        (QWEN3_30B, 16, 4),
        (QWEN35_4B, 6, 8),
        (QWEN35_4B, 16, 8),
        (GEMMA4_E4B, 8, 14),
    ],
)
def test_weights_of_slices_make_the_whole(config: Any, layers: int, most: int) -> None:
    """Frozen and adapted blocks of every kind add up to those of the model."""
    settings = Settings(num_layers=layers)
    chosen = slices.choose(config, settings, most)
    total: defaultdict[tuple[str, str], float] = defaultdict(float)
    for one in chosen:
        assert 1 <= one.adapted <= one.blocks <= most
        for name, count in slices.features(
            slices.kinds(one.config(config), settings), one.adapted
        ).items():
            total[name] += one.weight * count
    wanted = slices.features(slices.kinds(config, settings), layers)
    assert {name: round(count, 6) for name, count in total.items() if abs(count) > 1e-6} == wanted


def test_a_small_model_is_its_own_slice() -> None:
    """Nothing is multiplied where the model has no more blocks than a slice may."""
    chosen = slices.choose(qwen(), Settings(num_layers=2, bits=None), 4)
    assert chosen == (slices.Slice(3, 2),)


def test_slices_that_lack_a_kind_are_refused() -> None:
    """Three blocks of Qwen3.5 have no attention; a sum of such says nothing about one."""
    with pytest.raises(ValueError, match="do not hold every kind of block"):
        slices.choose(QWEN35_4B, Settings(num_layers=6), 3)
    with pytest.raises(ValueError, match="does not say how many blocks"):
        slices.blocks_of({"model_type": "qwen2"})


def test_kinds_tell_blocks_apart() -> None:
    """Three gated-delta blocks, then one of attention; dense models have one kind."""
    found = slices.kinds(QWEN35_4B, Settings())
    assert len(set(found)) == 2
    assert [found.index(kind) for kind in dict.fromkeys(found)] == [0, 3]
    assert len(set(slices.kinds(QWEN_7B, Settings()))) == 1
    assert len(set(slices.kinds(GEMMA4_E4B, Settings()))) == 4


@pytest.mark.parametrize(
    "stored", [{}, {"bits": 4, "group_size": 32}, {"bits": 4, "group_size": 32, "mode": "mxfp4"}]
)
def test_drawn_weights_have_the_real_formats(stored: dict[str, Any]) -> None:
    """Shapes and types stay, and the logits are finite."""
    config = qwen(quantization=stored) if stored else qwen()
    settings = Settings(bits=stored.get("bits"), group_size=32, dtype="float32")
    model = architecture.build(config, settings)
    before = [(name, a.shape, a.dtype) for name, a in tree_flatten(model.parameters())]
    slices.draw(model)
    assert [(name, a.shape, a.dtype) for name, a in tree_flatten(model.parameters())] == before
    assert bool(mx.isfinite(model(mx.array([[1, 2, 3]]))).all().item())
