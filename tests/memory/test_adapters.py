"""What a run trains, against published banners and the line of the real trainer."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import types
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm import lora

from mlx_preflight.memory import adapters, architecture
from mlx_preflight.models import source
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from tests.memory.models import qwen

PARAMETERS = {"rank": 8, "scale": 20.0, "dropout": 0.0}
QUERY_AND_VALUE = ["self_attn.q_proj", "self_attn.v_proj"]

QWEN3_30B = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
    "quantization": {"bits": 4, "group_size": 64},
}
"""config.json of Qwen3-30B-A3B in 4 bits."""


QWEN35_4B = {
    "model_type": "qwen3_5",
    "text_config": {
        "model_type": "qwen3_5_text",
        "hidden_size": 2560,
        "intermediate_size": 9216,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "linear_num_value_heads": 32,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "vocab_size": 248320,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    },
    "dtype": "bfloat16",
    "quantization": {"bits": 4, "group_size": 64},
}
"""Shapes of Qwen3.5-4B in 4 bits, three of four blocks gated-delta."""

GEMMA4_E4B = {
    "model_type": "gemma4",
    "vocab_size": 262144,
    "text_config": {
        "model_type": "gemma4_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 42,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "global_head_dim": 512,
        "num_kv_shared_layers": 18,
        "hidden_size_per_layer_input": 256,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "use_double_wide_mlp": False,
    },
    "dtype": "bfloat16",
    "quantization": {"bits": 4, "group_size": 64},
}
"""Shapes of gemma-4-E4B in 4 bits: blocks that share keys and values, inputs per layer."""


def count(config: Any, num_layers: int, kind: str = "lora", **changes: Any) -> adapters.Adapters:
    """Count with the trainer's default parameters, some changed."""
    parameters = {**PARAMETERS, **changes}
    return adapters.count(config, num_layers=num_layers, parameters=parameters, fine_tune_type=kind)


@pytest.mark.parametrize(
    ("model", "num_layers", "kind", "keys", "trained", "shown"),
    [
        ("qwen2.5-coder-7b", 16, "lora", None, 11_534_336, "(11.534M/7615.617M)"),
        ("qwen3-8b", 36, "lora", QUERY_AND_VALUE, 3_833_856, "(3.834M/8190.735M)"),
        ("llama-3.2-1b", 16, "full", None, 973_144_064, "(973.144M/1235.814M)"),
        ("qwen3-0.6b", -1, "full", None, 440_466_432, "73.898% (440.466M/596.050M)"),
    ],
)
def test_published_banners_are_met(
    model: str, num_layers: int, kind: str, keys: list[str] | None, trained: int, shown: str
) -> None:
    """The counts that others' runs of the trainer printed, to the digit."""
    chosen = {} if keys is None else {"keys": keys}
    found = count(source.find(model).config, num_layers, kind, **chosen)
    assert found.trainable_parameters == trained
    assert found.line.endswith(shown)


@pytest.mark.parametrize(
    ("config", "num_layers", "trained", "shown"),
    [
        (QWEN35_4B, 4, 2_029_056, ""),
        (QWEN35_4B, 8, 4_058_112, ""),
        (GEMMA4_E4B, 8, 3_473_408, "(3.473M/7463.013M)"),
    ],
)
def test_banners_of_hybrid_and_shared_blocks_are_met(
    config: Any, num_layers: int, trained: int, shown: str
) -> None:
    """Published runs of Qwen3.5-4B and gemma-4-E4B, whose blocks are of several kinds."""
    found = count(config, num_layers)
    assert found.trainable_parameters == trained
    assert found.line.endswith(shown)


def test_adapters_of_experts_are_counted() -> None:
    """Every expert has its own: 281,837,568 numbers, and a file of 1.13 GB."""
    found = count(QWEN3_30B, 16, rank=16)
    assert (found.trainable_parameters, found.nbytes) == (281_837_568, 1_127_350_272)


def test_blocks_beyond_the_model_are_refused() -> None:
    """0 and -1 are all blocks, as the trainer has it."""
    assert count(qwen(), 0).shapes == count(qwen(), -1).shapes == count(qwen(), 3).shapes
    with pytest.raises(ValueError, match="num_layers is 4, and the model has 3 blocks"):
        count(qwen(), 4)


def test_quantized_blocks_cannot_be_trained_whole() -> None:
    """MLX unfreezes the quantized weights with the block, and has no gradient of them."""
    config = qwen(quantization={"bits": 4, "group_size": 64})
    with pytest.raises(ValueError, match="quantized"):
        count(config, -1, "full")
    assert count(config, -1, "dora").trains_matrices


def saved(config: dict[str, Any], folder: Path) -> Path:
    """Save a model of a config with the embedded tokenizer."""
    folder.mkdir()
    weights = tree_flatten(architecture.build(config, adapters.stored(config)).parameters())
    mx.save_safetensors(str(folder / "model.safetensors"), dict(weights), {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED_FOLDER / name, folder)
    return folder


def printed(model: Path, **changes: Any) -> str:
    """Train for one iteration with `mlx_lm.lora`, and return what it printed."""
    data = model.parent / "data"
    data.mkdir()
    for name in ("train", "valid"):
        rows = [json.dumps({"text": f"number {index}"}) for index in range(2)]
        (data / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings: dict[str, Any] = {
        **lora.CONFIG_DEFAULTS,
        "model": str(model),
        "data": str(data),
        "adapter_path": str(model.parent / "adapters"),
        "train": True,
        "iters": 1,
        "batch_size": 1,
        "max_seq_length": 32,
        **changes,
    }
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        lora.run(types.SimpleNamespace(**settings))
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "bits", "num_layers", "kind", "parameters"),
    [
        ({}, None, -1, "lora", {"rank": 16, "dropout": 0.05}),
        ({"model_type": "llama"}, 8, 2, "lora", {"rank": 4, "keys": QUERY_AND_VALUE}),
        ({"model_type": "mistral", "tie_word_embeddings": False}, 4, 1, "dora", {}),
        ({"model_type": "qwen3", "head_dim": 32}, None, 2, "full", {}),
    ],
)
def test_the_count_is_the_trainers_own_line(
    tmp_path: Path,
    changes: dict[str, Any],
    bits: int | None,
    num_layers: int,
    kind: str,
    parameters: dict[str, Any],
) -> None:
    """A saved model, really trained for one iteration."""
    quantization = {"quantization": {"bits": bits, "group_size": 64}} if bits else {}
    config = qwen(vocab_size=1024, dtype="float32", **changes, **quantization)
    merged = {**PARAMETERS, **parameters}
    text = printed(
        saved(config, tmp_path / "model"),
        num_layers=num_layers,
        fine_tune_type=kind,
        lora_parameters=dict(merged),
    )
    assert count(config, num_layers, kind, **merged).line in text


@pytest.mark.slow
def test_the_trainer_fails_where_quantized_blocks_are_trained_whole(tmp_path: Path) -> None:
    """What the count refuses is no false alarm."""
    config = qwen(vocab_size=1024, dtype="float32", quantization={"bits": 4, "group_size": 64})
    with pytest.raises(RuntimeError, match="no gradient"):
        printed(saved(config, tmp_path / "model"), num_layers=-1, fine_tune_type="full")
    # The step that failed while it was compiled leaves MLX's random state unusable.
    mx.random.seed(0)
