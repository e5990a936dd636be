"""AC4 on small models of families whose parameters are in no layer, or in part dropped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from family_models import config_of, save
from loading_sweep import judge, load

from mlx_preflight.core.result import Status
from mlx_preflight.plan import register

pytestmark = pytest.mark.slow

DROPPED: dict[str, dict[str, tuple[int, ...]]] = {
    "gemma3": {"vision_tower.encoder.layers.9.weight": (8, 8), "multi_modal_projector.w": (4,)},
    "glm4_moe": {"model.layers.4.eh_proj.weight": (8, 8)},
    "qwen3_5": {"mtp.fc.weight": (8, 8), "model.visual.blocks.0.weight": (8, 8)},
    "gpt_oss": {},
    "mamba": {},
}
"""Model type → tensors of its published checkpoints that mlx_lm drops."""


def saved(family: str, folder: Path, **changes: Any) -> Path:
    """Save a small model with the tensors that mlx_lm drops."""
    extra = {name: mx.ones(shape) for name, shape in DROPPED[family].items()}
    return save(config_of(family), folder, extra=extra, **changes)


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("family", sorted(DROPPED))
def test_a_clean_model_of_today_passes(tmp_path: Path, family: str, bits: int | None) -> None:
    """Sinks, `A_log` and vision towers are counted, or left out and said."""
    folder = saved(family, tmp_path / "model", bits=bits)
    outcomes = judge(folder, load(folder))
    assert [it.reason for it in outcomes.values() if it.status is not Status.PASS] == []
    dropped = sum(math.prod(shape) for shape in DROPPED[family].values())
    said = outcomes[register.AC4_3].reason
    assert (f"mlx-lm leaves out {dropped:,} of the files" in said) is (dropped > 0)
