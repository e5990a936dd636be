"""Impossible settings and configs are refused by name, value and what is allowed."""

from __future__ import annotations

import importlib.util
from typing import Any

import model_configs
import pytest

from mlx_preflight.core.errors import EstimateError, InstallationError, UntraceableError
from mlx_preflight.memory import traced_run, validation
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.settings import Settings
from tests.memory.models import qwen, small

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
        ({}, {"keys": ("mlp",)}, "keys", "mlp.up_proj"),
        ({}, {"keys": ("input_layernorm",)}, "keys", "self_attn.q_proj"),
        ({}, {"keys": ("",)}, "keys", "self_attn.q_proj"),
        ({}, {"num_layers": 0}, "num_layers", "at least 1"),
        ({}, {"batch_size": 10**9}, "batch_size", "at most 65536"),
        ({}, {"max_seq_length": 10**10}, "max_seq_length", "at most 16777216"),
        ({}, {"rank": 3 * 10**9}, "rank", "at most 65536"),
        ({}, {"inference": True, "prompt_tokens": 10**9}, "prompt_tokens", "at most"),
        ({}, {"grad_accumulation_steps": 10**9}, "grad_accumulation_steps", "at most"),
        (
            {"num_attention_heads": 4},
            {"inference": True, "kv_bits": 4, "prompt_tokens": 6000},
            "kv_bits",
            "head_dim 32",
        ),
        ({"hidden_size": 10**9}, {}, "hidden_size", "at most"),
        ({"num_hidden_layers": 10**6}, {}, "num_hidden_layers", "at most 1000"),
        ({"vocab_size": 10**12}, {}, "vocab_size", "at most"),
        ({"model_type": ["qwen2"]}, {}, "model_type", "a name"),
        ({"model_type": "base"}, {}, "model_type", "an architecture"),
        ({"text_config": "x"}, {}, "text_config", "an object"),
        ({"tie_word_embeddings": "no"}, {}, "tie_word_embeddings", "true or false"),
        ({"rope_theta": -5}, {}, "rope_theta", "above 0"),
        ({"num_experts": -4}, {}, "num_experts", "0 to"),
        ({"model_file": "model.py"}, {}, "model_file", "never run"),
        ({"rope_theta": "x"}, {}, "rope_theta", "above 0"),
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


@pytest.mark.parametrize(
    "name", ["hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size"]
)
def test_a_field_that_is_null_is_refused_by_name(name: str) -> None:
    """No value is as little as a field that is not there."""
    with pytest.raises(EstimateError, match=f"{name} is None"):
        predict({**qwen(), name: None}, small())


def test_a_model_that_cannot_run_here_is_no_fault_of_its_own() -> None:
    """Its kernel is for Metal: neither the config nor mlx_lm is to blame."""
    with pytest.raises(
        UntraceableError, match="a limit of this machine, not of the model"
    ) as caught:
        predict(qwen(model_type="bitnet"), small(inference=True, prompt_tokens=9))
    assert "config.json" not in str(caught.value)
    assert "mlx_lm" not in str(caught.value)


def test_a_step_that_cannot_be_traced_blames_nobody() -> None:
    """The model runs, so its config is not at fault; the message says what failed."""

    def fail(*_: Any) -> Any:
        raise TypeError("no such argument\nmore")

    with pytest.raises(UntraceableError, match="TypeError: no such argument") as caught:
        traced_run.build(qwen(), small(), fail)
    assert "\n" not in str(caught.value)
    assert "mlx_lm cannot" not in str(caught.value)
    assert "measure instead" in (caught.value.hint or "")


def test_a_model_without_a_gradient_is_no_fault_of_its_config() -> None:
    """The router of dbrx is evaluated in the step; the real trainer ends with the same words."""
    with pytest.raises(UntraceableError, match="'dbrx' cannot be trained here") as caught:
        predict(model_configs.config_of("dbrx"), small(max_seq_length=9))
    assert "config.json" not in f"{caught.value} {caught.value.hint}"


FLAT = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")


@pytest.mark.parametrize("kind", FLAT)
def test_a_flat_config_is_read_as_mlx_lm_reads_it(kind: str) -> None:
    """`from_dict` of these files takes the fields without a `text_config`, too."""
    own = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    linear = dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2)
    linear |= dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 32)
    flat = qwen(model_type=kind, **own)
    linear["full_attention_interval"] = 2
    flat |= linear
    nested = {"model_type": kind, "text_config": {**flat, "model_type": "text"}}
    run = small(max_seq_length=9)
    assert predict(flat, run).peak_bytes == predict(nested, run).peak_bytes


def test_a_field_that_a_flat_config_lacks_is_named() -> None:
    """The inner model demands it, and its name is what counts."""
    flat = {key: value for key, value in qwen().items() if key != "hidden_size"}
    with pytest.raises(EstimateError, match="hidden_size is None; allowed: a value"):
        predict({**flat, "model_type": "qwen2_vl"}, small())


def test_a_list_of_rope_bases_is_for_the_model_that_has_one() -> None:
    """step3p5 has one for each block; another model's own code refuses it."""
    config = model_configs.config_of("step3p5")
    assert isinstance(config["rope_theta"], list)
    validation.check_config(config, small())
    for wrong in ([], [10000.0, -1]):
        with pytest.raises(EstimateError, match="above 0"):
            validation.check_config({**config, "rope_theta": wrong}, small())
    with pytest.raises(EstimateError):
        predict(qwen(rope_theta=[10000.0]), small())


def test_a_model_file_that_ends_the_process_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`olmo` prints and exits without its package; nothing of it reaches stdout."""
    if importlib.util.find_spec("hf_olmo"):
        pytest.fail("hf_olmo is installed: the test needs another file that exits")
    with pytest.raises(InstallationError, match="'olmo' of mlx-lm cannot be imported") as caught:
        predict({"model_type": "olmo"}, small())
    assert "pip install ai2-olmo" in caught.value.hint
    assert capsys.readouterr().out == ""


def test_a_vocabulary_without_the_reserved_tokens_is_refused() -> None:
    """phi3small writes to their logits: its first step died by signal 11."""
    config = {**model_configs.config_of("phi3small"), "vocab_size": 2048}
    with pytest.raises(EstimateError, match="vocab_size is 2048; allowed: at least 100352"):
        predict(config, small())


def test_dora_of_experts_is_refused_by_name() -> None:
    """mlx_lm makes none; config.json is not to blame."""
    with pytest.raises(EstimateError, match="fine_tune_type is 'dora'") as caught:
        predict(qwen(**MOE), small(fine_tune_type="dora"))
    assert "SwitchLinear" in caught.value.allowed


def test_a_full_training_of_quantized_weights_is_refused() -> None:
    """They have no gradient; unquantized, everything of the blocks is trained."""
    with pytest.raises(EstimateError, match="bits is 4; allowed: 16 with fine_tune_type full"):
        predict(qwen(), small(fine_tune_type="full", bits=4))
    full = predict(qwen(), small(fine_tune_type="full"))
    assert full.trainable_parameters > predict(qwen(), small()).trainable_parameters


def test_a_model_of_text_and_images_is_estimated_without_the_images() -> None:
    """Its config keeps the fields inside and may leave out the vocabulary."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "intermediate_size": 256,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "sliding_window_pattern": 2,
    }
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 8}}
    found = predict(config, small(bits=4))
    assert any("vision_config: left out" in text for text in found.warnings)
    # One row of 64 logits of Gemma 3's own vocabulary, in float32.
    assert found.breakdown_bytes["logits and loss"] >= 64 * 262_208 * 4


def test_a_cache_too_short_to_be_quantized_is_named() -> None:
    """mlx_lm quantizes it only after 5,000 tokens."""
    run = small(inference=True, prompt_tokens=100, generate_tokens=10, kv_bits=4)
    assert any("kv_bits changes nothing" in text for text in predict(qwen(), run).warnings)


@pytest.mark.slow
def test_a_width_that_the_group_does_not_divide_stays_unquantized_with_a_warning() -> None:
    """mlx_lm.convert leaves such layers as they are; the estimate says so."""
    found = predict(qwen(intermediate_size=200), small(bits=4))
    assert any("group_size is 64" in text and "200" in text for text in found.warnings)


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
