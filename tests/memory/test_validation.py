"""Impossible settings and configs are refused by name, value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from memory.models import qwen, small

from mlx_preflight.errors import EstimateError, UntraceableError
from mlx_preflight.memory import rules
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings

MOE: dict[str, Any] = {
    "model_type": "mixtral",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize(
    ("config", "settings", "field", "part"),
    [
        ({"model_type": "qwen22"}, {}, "model_type", "qwen2"),
        ({"model_type": None}, {}, "model_type", "qwen2 or llama"),
        ({"hidden_size": None}, {}, "hidden_size", "cannot be built without it"),
        ({"vocab_size": -3}, {}, "vocab_size", "positive"),
        ({"num_attention_heads": 3, "num_key_value_heads": 1}, {}, "num_attention_heads", "128"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, {}, "num_key_value_heads", "4"),
        ({}, {"max_seq_length": 5000}, "max_seq_length", "4096"),
        (
            {},
            {"inference": True, "prompt_tokens": 5000},
            "prompt_tokens and generate_tokens",
            "4096",
        ),
        ({}, {"num_layers": 9}, "num_layers", "3 layers"),
        ({}, {"num_layers": -2}, "num_layers", "-1"),
        ({}, {"bits": 7}, "bits", "4"),
        ({}, {"group_size": 100}, "group_size", "64"),
        ({"hidden_size": 80, "intermediate_size": 80}, {"bits": 4}, "group_size", "80"),
        ({}, {"dtype": "int8"}, "dtype", "bfloat16"),
        ({}, {"optimizer": "lion"}, "optimizer", "adamw"),
        ({}, {"backend": "rocm"}, "backend", "metal"),
        ({}, {"batch_size": 0}, "batch_size", "at least 1"),
        ({}, {"batch_size": True}, "batch_size", "integer"),
        ({}, {"max_seq_length": 1}, "max_seq_length", "at least 2"),
        ({}, {"keys": ()}, "keys", "every linear"),
        ({}, {"keys": ("self_attn.q_porj",)}, "keys", "self_attn.q_proj"),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 6}, {}, "config.json", "range"),
    ],
)
def test_bad_input_names_field_value_and_choice(
    config: dict[str, Any], settings: dict[str, Any], field: str, part: str
) -> None:
    """The message says what is wrong with which value and what may stand there."""
    with pytest.raises(EstimateError) as caught:
        predict(qwen(**config), small(**settings))
    assert caught.value.field == field
    assert part in caught.value.allowed
    assert field in str(caught.value)
    assert repr(caught.value.value) in str(caught.value)


@pytest.mark.slow
def test_a_width_that_the_group_does_not_divide_stays_unquantized_with_a_warning() -> None:
    """mlx_lm.convert leaves such layers as they are; the estimate says so."""
    found = predict(qwen(intermediate_size=200), small(bits=4))
    assert any("group_size is 64" in text and "200" in text for text in found.warnings)


def test_experts_with_adapters_are_added_by_size() -> None:
    """Their gradient cannot be exported, so the estimate says so and widens."""
    whole = predict(qwen(**MOE), small())
    attention = predict(qwen(**MOE), small(keys=("self_attn.q_proj",)))
    assert any("SegmentedMM" in text for text in whole.warnings)
    assert not attention.warnings
    assert whole.trainable_parameters > attention.trainable_parameters
    assert sum(whole.breakdown_bytes.values()) == whole.peak_bytes
    assert whole.peak_high_bytes / whole.peak_bytes > 1 + rules.UNTRACED


def test_only_experts_with_adapters_cannot_be_estimated() -> None:
    """Nothing is left to trace, so the error says what MLX cannot export."""
    keys = ("block_sparse_moe.switch_mlp.gate_proj",)
    with pytest.raises(UntraceableError, match="SegmentedMM"):
        predict(qwen(**MOE), small(keys=keys))


@pytest.mark.slow
def test_an_unchecked_mlx_version_widens_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules may not hold there, so the prediction warns and doubles its error."""
    known = predict(qwen(), small())
    monkeypatch.setattr(rules, "CHECKED", ("0.1.0",))
    other = predict(qwen(), small())
    assert other.peak_bytes == known.peak_bytes
    assert other.peak_high_bytes > known.peak_high_bytes
    assert other.peak_low_bytes < known.peak_low_bytes
    assert any("0.1.0" in text for text in other.warnings)


@pytest.mark.slow
def test_an_environment_that_changes_mlx_widens_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With compilation disabled the trainer runs another graph than the predicted one."""
    known = predict(qwen(), small())
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    other = predict(qwen(), small())
    assert other.peak_high_bytes > known.peak_high_bytes
    assert other.peak_low_bytes < known.peak_low_bytes
    assert any("MLX_DISABLE_COMPILE" in text for text in other.warnings)


@pytest.mark.slow
def test_cuda_is_told_apart() -> None:
    """Its attention keeps no scores, so the lower end leaves them out."""
    cuda, metal = (predict(qwen(), small(backend=name)) for name in ("cuda", "metal"))
    assert any("cuDNN" in text for text in cuda.warnings)
    assert cuda.peak_low_bytes < metal.peak_low_bytes


def test_settings_survive_json() -> None:
    """A child process gets exactly the settings of its parent."""
    import dataclasses
    import json

    for settings in (Settings(), small(keys=("self_attn.q_proj", "mlp.up_proj"))):
        assert Settings.from_json(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
