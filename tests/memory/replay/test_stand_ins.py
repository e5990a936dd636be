"""Metal's fused kernels appear in traces that are made without Metal."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm import models

from mlx_preflight.memory import architecture
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import generation, stand_ins, trace
from mlx_preflight.memory.replay.graph import Graph
from tests.memory.models import qwen, small

LAYERS = qwen()["num_hidden_layers"]


def training_graph(config: dict[str, Any], **changes: Any) -> Graph:
    settings = small(backend="metal", **changes)
    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    return trace.training(model, settings)[0].graph


def test_a_training_step_holds_forward_and_backward_kernels() -> None:
    """Two norms and two rotations a layer, and backward ones for all but the first norm."""
    names = Counter(node.name for node in training_graph(qwen()).nodes)
    assert names["RMSNorm"] == 2 * LAYERS + 1
    assert names["RMSNormVJP"] == 2 * LAYERS
    # Forward and backward of queries and keys are the same kernel.
    assert names["RoPE"] == 4 * LAYERS
    assert not {"ArcCosh", "ArcTanh", "Cos", "StopGradient"} & set(names)


def test_layer_norm_has_its_own_kernels() -> None:
    """StarCoder 2 normalizes with means and biases."""
    config = qwen(model_type="starcoder2")
    names = Counter(node.name for node in training_graph(config).nodes)
    assert names["LayerNorm"] == 2 * LAYERS + 1
    assert names["LayerNormVJP"] == 2 * LAYERS
    assert "ArcSinh" not in names


def test_checkpointing_runs_the_forward_kernels_twice() -> None:
    """The backward pass computes every layer again."""
    names = Counter(node.name for node in training_graph(qwen(), grad_checkpoint=True).nodes)
    assert names["RMSNorm"] == 4 * LAYERS + 1


def test_training_attention_is_not_fused() -> None:
    """Metal takes the unfused path where a gradient is wanted."""
    graph = training_graph(qwen())
    names = {node.name for node in graph.nodes}
    assert "ScaledDotProductAttention" not in names
    assert "Softmax" in names


@pytest.mark.parametrize(("head", "fused"), [(64, True), (48, False)])
def test_inference_attention_is_fused_where_there_is_a_kernel(head: int, fused: bool) -> None:
    """Head widths without a kernel keep the scores."""
    settings = small(inference=True, backend="metal", prompt_tokens=40, generate_tokens=0)
    model = architecture.build(qwen(model_type="qwen3", head_dim=head), settings)
    names = {node.name for node in generation.steps(model, settings)[0].graph.nodes}
    assert ("ScaledDotProductAttention" in names) is fused


def test_mlx_is_itself_again_after_a_trace() -> None:
    """The functions of mx.fast are put back, also when the traced function fails."""
    before = mx.fast.rms_norm, mx.fast.rope, mx.fast.scaled_dot_product_attention
    with pytest.raises(ZeroDivisionError), stand_ins.fused(inference=True):
        _ = 1 // 0
    assert (mx.fast.rms_norm, mx.fast.rope, mx.fast.scaled_dot_product_attention) == before


def test_fused_attention_lowers_the_peak_of_a_long_prompt() -> None:
    """No scores are kept on Metal, and the CPU keeps a square of them."""
    settings = small(inference=True, prompt_tokens=1025, generate_tokens=1, backend="cpu")
    cpu = predict(qwen(), settings)
    metal = predict(qwen(), small(inference=True, prompt_tokens=1025, backend="metal"))
    assert cpu.breakdown_bytes["attention scores"] > 1024 * 1024 * 4
    assert metal.breakdown_bytes["attention scores"] == 0
    assert metal.peak_bytes < cpu.peak_bytes


def test_every_call_of_mlx_lm_fits_the_stand_ins() -> None:
    """Models name some arguments and give others by place; a stand-in takes them as MLX does."""
    kernels = {"rms_norm", "layer_norm", "rope", "scaled_dot_product_attention"}
    seen: set[str] = set()
    with stand_ins.fused(inference=True):
        taken = {name: inspect.signature(getattr(mx.fast, name)) for name in kernels}
    for file in sorted(Path(models.__path__[0]).glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func).removeprefix("mx.fast.")
            given = [*call.args, *call.keywords]
            whole = not any(isinstance(one, ast.Starred) for one in given)
            named = {one.arg: None for one in call.keywords if one.arg}
            if name in kernels and ast.unparse(call.func).startswith("mx.fast.") and whole:
                taken[name].bind(*call.args, **named)
                seen.add(name)
    assert seen == kernels


def test_a_norm_takes_its_width_and_error_by_name() -> None:
    """As nemotron_h, llama4 and nanochat call them."""
    x = mx.zeros((1, 4, 8, 64))

    def run(array: mx.array) -> list[mx.array]:
        normed = mx.fast.rms_norm(array, weight=None, eps=1e-6)
        return [mx.fast.rope(normed, dims=64, traditional=False, base=1e4, scale=1.0, offset=0)]

    with stand_ins.fused(inference=False):
        graph = trace.export(run, [x], ["temporaries"])
    assert [node.name for node in graph.nodes if node.name in {"RMSNorm", "RoPE"}] == [
        "RMSNorm",
        "RoPE",
    ]
