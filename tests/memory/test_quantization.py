"""A quantized checkpoint is predicted as it is stored, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import model_configs
import pytest

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.frameworks import configs
from mlx_preflight.memory.fit import fit
from mlx_preflight.memory.predict import predict
from mlx_preflight.models import checkpoint as c
from mlx_preflight.models.quantization import Quantization, read_quantization
from tests.memory.models import qwen, small

DOWN = "model.layers.0.mlp.down_proj"
FP8 = {"quant_method": "fp8", "weight_block_size": [32, 32], "scale_fmt": "ue8m0"}
NVFP4 = {"bits": 4, "group_size": 16, "mode": "nvfp4"}
MIXED = {"bits": 4, "group_size": 64, DOWN: {"bits": 8, "group_size": 32}}


def checkpoint(folder: Path, quantized: dict[str, Any]) -> dict[str, Any]:
    """Write a checkpoint as mlx_lm.convert writes one, and return its config."""
    import mlx.core as mx
    from mlx_lm.utils import quantize_model, save_model

    from mlx_preflight.memory import architecture

    def wanted(path: str, _: Any) -> Any:
        return quantized.get(path, True)

    config: dict[str, Any] = qwen()
    model = architecture.build(config, small(bits=None, dtype="bfloat16"))
    mx.eval(model.parameters())
    model, config = quantize_model(
        model,
        config,
        quantized["group_size"],
        quantized["bits"],
        mode=quantized.get("mode", "affine"),
        quant_predicate=wanted,
    )
    save_model(folder, model)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return dict(config)


@pytest.mark.parametrize(
    "quantized", [MIXED, {"bits": 4, "group_size": 32, "mode": "mxfp4"}], ids=["mixed", "mxfp4"]
)
def test_the_weights_are_those_that_mlx_lm_loads(tmp_path: Path, quantized: dict[str, Any]) -> None:
    """Single layers of other bits and other modes count as they are, to the byte."""
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model

    config = checkpoint(tmp_path, quantized)
    model, _ = load_model(tmp_path, lazy=True)
    loaded = sum(array.nbytes for _, array in tree_flatten(model.parameters()))
    bits, group = quantized["bits"], quantized["group_size"]
    found = predict(config, small(bits=bits, group_size=group, dtype="bfloat16"))
    assert found.weight_bytes == loaded
    assert not found.warnings


FORMATS = {
    "affine": {"bits": 4, "group_size": 64},
    "mixed": MIXED,
    "left out": {"bits": 8, "group_size": 32, DOWN: False},
    "other mode in one layer": {"bits": 4, "group_size": 64, DOWN: NVFP4},
    "mxfp4": {"bits": 4, "group_size": 32, "mode": "mxfp4"},
    "mxfp8": {"bits": 8, "group_size": 32, "mode": "mxfp8"},
    "nvfp4": NVFP4,
}


@pytest.mark.parametrize("quantized", FORMATS.values(), ids=FORMATS)
def test_every_module_is_declared_as_mlx_lm_loads_it(
    tmp_path: Path, quantized: dict[str, Any]
) -> None:
    """Bits, group and mode of each module, and the parameters that the files hold."""
    from mlx_lm.utils import get_total_parameters, load_model

    config = checkpoint(tmp_path, quantized)
    model, _ = load_model(tmp_path, lazy=True)
    declared = read_quantization(config)
    assert declared is not None
    packed = [(path, module) for path, module in model.named_modules() if hasattr(module, "bits")]
    assert packed
    for path, module in packed:
        own = declared.of(path)
        assert own is not None
        assert (own.bits, own.group_size) == (module.bits, module.group_size)
        assert own.mode == module.mode
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    inspected = c.inspect(tmp_path)
    assert inspected.parameters == get_total_parameters(model)
    assert c.check_shapes(inspected).problems == ()


def test_a_layers_own_entry_is_completed_by_mlx_and_not_by_the_model() -> None:
    """mlx_lm hands it to `to_quantized`, whose defaults depend on the mode alone."""
    whole = {"bits": 8, "group_size": 32, "a": {"bits": 2}, "b": {"mode": "nvfp4"}, "c": True}
    declared = read_quantization({"quantization": whole})
    assert declared is not None
    assert declared.of("a") == Quantization(2, 64)
    assert declared.of("b") == Quantization(4, 16, "nvfp4")
    assert declared.of("c") == declared.of("d") == declared


@pytest.mark.parametrize("quantized", [{"bits": 4, "group_size": 16}, {**NVFP4, "bits": 8}])
def test_groups_of_16_belong_to_nvfp4_alone(quantized: dict[str, Any]) -> None:
    """MLX has no kernel for them in another mode, and no other width in this one."""
    import mlx.core as mx

    with pytest.raises(ValueError, match=r"group size|bits"):
        mx.quantize(mx.zeros((32, 64)), **quantized)
    with pytest.raises(EstimateError, match="of quantization is"):
        read_quantization({"quantization": quantized})


@pytest.mark.slow
def test_a_layer_that_the_config_leaves_out_stays_unquantized() -> None:
    """False beside its name says so in mlx_lm's own configs."""
    whole = predict(qwen(quantization=MIXED), small(bits=4))
    less = predict(qwen(quantization={**MIXED, DOWN: False}), small(bits=4, dtype="float32"))
    # 128 x 256 weights of float32 for 8 bits in groups of 32 with scale and bias.
    assert less.weight_bytes - whole.weight_bytes == 128 * 256 * (4 - (1 + 8 / 32))


@pytest.mark.parametrize(
    ("stored", "bits", "group", "mode"),
    [
        ({"quant_method": "mxfp4"}, 4, 32, "mxfp4"),
        (FP8, 8, 32, "mxfp8"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, 4, 32, "affine"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4, 16, "nvfp4"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4, 128, "affine"),
    ],
)
def test_other_libraries_weights_are_what_mlx_lm_makes_of_them(
    stored: dict[str, Any], bits: int, group: int, mode: str
) -> None:
    """mlx_lm reads these; what it does not read is refused, below."""
    found = read_quantization({"quantization_config": stored})
    assert found is not None
    assert (found.bits, found.group_size, found.mode) == (bits, group, mode)


@pytest.mark.slow
def test_what_another_library_left_unquantized_is_so() -> None:
    """Head, embeddings and the layers that the config names; that it is a guess is said."""
    stored = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    settings = small(bits=4, group_size=32)
    some = predict(qwen(quantization_config=stored), settings)
    more = predict(qwen(quantization_config={"quant_method": "mxfp4"}), settings)
    every = predict(qwen(quantization={"bits": 4, "group_size": 32, "mode": "mxfp4"}), settings)
    assert some.weight_bytes > more.weight_bytes > every.weight_bytes
    assert any("only known from the weights" in text for text in some.warnings)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("quantization", "x", "an object"),
        ("quantization", {}, "bits of quantization is None"),
        ("quantization", {"bits": 4.0, "group_size": 64}, "bits of quantization is 4.0"),
        ("quantization", {"bits": 4, "group_size": 64, "mode": "foo"}, "mode of quantization"),
        ("quantization", {"bits": 4, "group_size": 64, "mode": "mxfp4"}, "mode mxfp4"),
        ("quantization", {**MIXED, DOWN: {"bits": 7}}, f"bits of {DOWN} is 7"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ("quantization_config", {"quant_method": "gptq", "bits": 8}, "gptq 8"),
        ("quantization_config", {"quant_method": "awq", "bits": 4, "group_size": 7}, "is 7"),
        ("quantization_config", {"bits": 4, "group_size": 64}, "None"),
        ("quantization_config", 4, "an object"),
    ],
)
def test_what_mlx_lm_cannot_load_is_refused(field: str, value: object, said: str) -> None:
    """No checkpoint is taken for one of four bits because its own word was not understood."""
    with pytest.raises(EstimateError, match="allowed") as caught:
        predict(qwen(**{field: value}), small(bits=4))
    assert said in str(caught.value)


def test_other_bits_than_the_stored_ones_are_said_and_never_written(tmp_path: Path) -> None:
    """mlx_lm trains the checkpoint as it is, so no recipe may promise other bits."""
    config = qwen(quantization={"bits": 8, "group_size": 64})
    assert any("stores 8 bits" in text for text in predict(config, small(bits=4)).warnings)
    with pytest.raises(EstimateError, match="8, as the weights are quantized already"):
        configs.write(tmp_path, "model", small(bits=4), config, "head")
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_search_never_gives_up_bits_that_are_stored() -> None:
    """Weights that are quantized already are not converted again."""
    config = qwen(quantization={"bits": 8, "group_size": 64})
    whole = predict(config, small(bits=8))
    found = fit(config, small(bits=8), whole.weight_bytes)
    assert not found.fits
    assert found.smallest.settings.bits == 8


def test_a_layer_that_the_model_lacks_is_named() -> None:
    """As in a checkpoint of text and images, whose other part mlx_lm leaves out."""
    config = qwen(quantization={**MIXED, "vision.proj": {"bits": 8, "group_size": 64}})
    found = predict(config, small(bits=4))
    assert any("vision.proj" in text for text in found.warnings)


@pytest.mark.parametrize(
    "quantized",
    [{"quant_method": "fp8"}, {**FP8, "scale_fmt": None}, {}],
    ids=["fp8", "scale", "{}"],
)
def test_what_mlx_lm_unpacks_while_loading_is_unquantized(quantized: dict[str, Any]) -> None:
    """It makes bfloat16 of 8-bit floats whose scales are not powers of two."""
    assert read_quantization({"quantization_config": quantized}) is None


BLOCKS = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_fp8_in_blocks_of_128_is_refused(kind: str) -> None:
    """mlx_lm would load it as other weights; it was answered as 4 affine bits."""
    config = qwen(model_type=kind, head_dim=64, quantization_config=BLOCKS)
    for bits in (None, 4):
        with pytest.raises(EstimateError, match=r"weight_block_size \[128, 128\]") as caught:
            predict(config, small(bits=bits))
        assert "scale_fmt ue8m0" in caught.value.allowed


def test_fp8_that_a_model_file_dequantizes_is_bfloat16() -> None:
    """deepseek_v3 does, in its `sanitize`."""
    config = {**model_configs.config_of("deepseek_v3"), "quantization_config": BLOCKS}
    found = predict(config, small(max_seq_length=9))
    assert any("makes bfloat16 of" in text for text in found.warnings)
    plain = predict(model_configs.config_of("deepseek_v3"), small(max_seq_length=9))
    assert found.peak_bytes == plain.peak_bytes


def packed(*groups: tuple[Any, Any]) -> dict[str, Any]:
    """Return a compressed-tensors config whose groups have these bits and sizes."""
    entries = [{"weights": {"num_bits": bits, "group_size": size}} for bits, size in groups]
    named = {f"group_{index}": entry for index, entry in enumerate(entries)}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": named,
    }


def test_packed_integers_are_of_the_bits_that_their_groups_declare() -> None:
    """8 bits in groups of 128 were answered as 4 bits in groups of 32."""
    found = read_quantization(qwen(quantization_config=packed((8, 128))))
    assert found is not None
    assert (found.bits, found.group_size, found.mode) == (8, 128, "affine")
    unsaid = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
    found = read_quantization(qwen(quantization_config=unsaid))
    assert found is not None
    assert (found.bits, found.group_size) == (4, 32)


@pytest.mark.parametrize("groups", [((8, 128), (4, 128)), ((8, None),), ((8, -1),), ((4, 256),)])
def test_packed_integers_that_mlx_has_not_are_refused(groups: tuple[tuple[Any, Any], ...]) -> None:
    """Two formats in one model, one scale for a channel, and groups of 256."""
    with pytest.raises(EstimateError, match="config_groups"):
        read_quantization(qwen(quantization_config=packed(*groups)))
