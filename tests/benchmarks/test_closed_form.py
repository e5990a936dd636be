"""The closed-form estimate against exact counts and published peaks."""

from __future__ import annotations

from typing import Any

import closed_form
import pytest

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.models import catalog

CODER = "Qwen/Qwen2.5-Coder-7B-Instruct"
Q7 = next(item.config for item in catalog.models() if item.repository == CODER)
Q3 = {
    **Q7,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


def test_parameter_counts_are_exact() -> None:
    """The counts are those that the published checkpoints load with."""
    assert closed_form.count_parameters(Q7) == 7_615_616_512
    assert closed_form.count_parameters(Q3) == 3_085_938_688


def test_quantized_weights_take_four_and_a_half_bits() -> None:
    """Four bits in groups of 64 with a 16-bit scale and bias are 4.5 bits per weight."""
    weights = closed_form.estimate_training(Q7)["weights"]
    assert weights == pytest.approx(7_615_616_512 * 4.5 / 8, rel=1e-3)


@pytest.mark.parametrize(
    ("config", "settings", "published_gb"),
    [
        # 1 row of 1024 tokens, checkpointed; peak printed by mlx-lm on an M1 Pro, April 2026.
        (Q7, {"row_tokens": 1024, "rank": 16, "checkpointed": True}, 6.698),
        # 4 short chat rows; the longest is not stated, 65 padded tokens are assumed. July 2026.
        (Q7, {"batch": 4, "row_tokens": 65}, 6.421),
        # Rows capped at 128, four layers; mlx-lm 0.31.3 on an M2 Pro.
        (Q7, {"row_tokens": 128, "layers": 4}, 4.493),
        # 4 rows of about 29 tokens on average; a longest row of 129 is assumed.
        (Q3, {"batch": 4, "row_tokens": 129}, 4.466),
    ],
)
def test_estimates_are_within_a_quarter_of_published_peaks(
    config: Any, settings: Any, published_gb: Any
) -> None:
    """Four published peaks of Qwen2.5 QLoRA runs are met within 25 percent."""
    total = closed_form.estimate_training(config, **settings)["total"] / 1e9
    assert total == pytest.approx(published_gb, rel=0.25)


def test_memory_grows_with_what_makes_it_grow() -> None:
    """Longer rows, more rows, more layers and higher rank never need less."""
    base = closed_form.estimate_training(Q7, layers=8)["total"]
    for change in ({"row_tokens": 512}, {"batch": 2}, {"layers": 16}, {"rank": 16}):
        settings: dict[str, Any] = {"layers": 8, **change}
        assert closed_form.estimate_training(Q7, **settings)["total"] > base
    assert closed_form.estimate_training(Q7, layers=8, checkpointed=True)["total"] < base


def test_the_total_is_the_sum_of_its_parts() -> None:
    """No category is left out of the total."""
    parts = closed_form.estimate_training(Q7)
    total = parts.pop("total")
    assert total == sum(parts.values())
    assert all(isinstance(value, int) and value > 0 for value in parts.values())


def test_an_unknown_layout_is_refused() -> None:
    """A model that is laid out differently gets no number at all."""
    with pytest.raises(PreflightError, match="mamba"):
        closed_form.estimate_training({**Q7, "model_type": "mamba"})
