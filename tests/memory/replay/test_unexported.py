"""Primitives that MLX cannot export appear in traces as MLX runs them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import mlx.core as mx
import pytest

from mlx_preflight.memory import architecture
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.replay import trace, unexported
from mlx_preflight.memory.replay.graph import Graph
from mlx_preflight.memory.settings import Settings
from tests.memory.models import MIXTRAL, QWEN3_5, QWEN3_MOE, qwen, small

MARKS = {
    *(unexported.FACTOR, unexported.ROWS, unexported.DENSE),
    *(unexported.DECODED, unexported.ENCODED),
}


def traced(function: Any, *arguments: mx.array) -> Graph:
    """Return the graph of a function of arrays."""
    with mx.stream(mx.cpu):
        return trace.export(function, list(arguments), ["temporaries"] * len(arguments))


def names(graph: Graph) -> Counter[str]:
    return Counter(node.name for node in graph.nodes)


def experts(**changes: Any) -> tuple[Any, Graph]:
    """Return a small model of experts with adapters, and its training step."""
    settings = small(**changes)
    model = architecture.build(MIXTRAL, settings)
    architecture.adapt(model, settings)
    return model, trace.training(model, settings)[-1].graph


def test_the_gradient_of_experts_is_a_product_of_segments() -> None:
    """Two for each of three layers, from bounds that are computed once for a block's indices."""
    _, graph = experts()
    layers = MIXTRAL["num_hidden_layers"]
    found = names(graph)
    assert found["SegmentedMM"] == 6 * layers
    assert found["AsStrided"] == layers
    assert not MARKS & set(found)
    made = {item for node in graph.nodes for item in node.outputs}
    given = {*graph.inputs, *graph.constants}
    assert all(item in made | given for node in graph.nodes for item in node.inputs)


def test_a_product_of_segments_has_the_shape_of_the_adapter() -> None:
    """Experts, rows of the second factor, and its columns; the rows are all tokens' choices."""
    b = mx.zeros((4, 8, 16))
    indices = mx.zeros((64,), mx.uint32)

    def gradient(x: mx.array, factor: mx.array) -> list[mx.array]:
        def loss(f: mx.array) -> mx.array:
            return mx.gather_mm(x, f, rhs_indices=indices, sorted_indices=True).sum()

        return [mx.grad(loss)(factor)]

    graph = traced(gradient, mx.zeros((64, 1, 8)), b)
    node = next(node for node in graph.nodes if node.name == "SegmentedMM")
    shapes = [graph.shapes[item] for item in (*node.inputs, *node.outputs)]
    assert shapes == [(16, 64), (64, 8), (4, 2), (4, 16, 8)]
    assert graph.shapes[graph.outputs[0]] == b.shape


def test_a_sorted_product_without_a_gradient_is_itself() -> None:
    """The second product leaves nothing behind where nothing is differentiated."""
    indices = mx.zeros((64,), mx.uint32)

    def run(x: mx.array, b: mx.array) -> list[mx.array]:
        return [mx.gather_mm(x, b, rhs_indices=indices, sorted_indices=True)]

    graph = traced(run, mx.zeros((64, 1, 8)), mx.zeros((4, 8, 16)))
    assert names(graph)["GatherMM"] == 1
    node = next(node for node in graph.nodes if node.name == "GatherMM")
    assert node.inputs[:2] == graph.inputs


def test_a_contiguous_array_passes_its_cotangent_on() -> None:
    """`Contiguous` has the cotangent itself as gradient (mlx/primitives.cpp)."""

    def gradient(x: mx.array) -> list[mx.array]:
        value, found = mx.value_and_grad(lambda a: mx.contiguous(mx.exp(a).T).square().sum())(x)
        return [value, found]

    graph = traced(gradient, mx.zeros((8, 4)))
    found = names(graph)
    assert found["Contiguous"] == 1
    assert not MARKS & set(found)


@pytest.mark.parametrize(("mode", "count"), [("mxfp8", 1), ("nvfp4", 1), ("mxfp4", 0)])
def test_eight_bit_numbers_are_decoded(mode: str, count: int) -> None:
    """Values of mxfp8, and scales of nvfp4."""
    group = 16 if mode == "nvfp4" else 32
    weights = mx.quantize(mx.zeros((8, 64)), group, mode=mode)

    def run(weight: mx.array, scales: mx.array) -> list[mx.array]:
        return [mx.dequantize(weight, scales, mode=mode)]

    graph = traced(run, *weights)
    assert names(graph)["FromFP8"] == count
    assert graph.shapes[graph.outputs[0]] == (8, 64)
    assert graph.dtypes[graph.outputs[0]] == "bfloat16"
    for node in graph.nodes:
        if node.name == "FromFP8":
            assert graph.dtypes[node.inputs[0]] == "uint8"


def test_mlx_is_itself_again() -> None:
    """Also when the traced function fails."""
    before = mx.gather_mm, mx.contiguous, mx.dequantize, mx.from_fp8, mx.to_fp8
    with pytest.raises(ZeroDivisionError), unexported.exportable():
        _ = 1 // 0
    assert (mx.gather_mm, mx.contiguous, mx.dequantize, mx.from_fp8, mx.to_fp8) == before


def test_the_moments_of_experts_are_optimizer_state() -> None:
    """Two for every trained number, and nothing widens the interval."""
    found = predict(MIXTRAL, small())
    assert found.breakdown_bytes["optimizer state"] >= 2 * 4 * found.trainable_parameters
    dense = predict(qwen(), small())
    assert (
        found.peak_high_bytes / found.peak_bytes < 1.02 * dense.peak_high_bytes / dense.peak_bytes
    )
    assert not found.warnings


@pytest.mark.slow
@pytest.mark.parametrize("config", [MIXTRAL, QWEN3_MOE])
@pytest.mark.parametrize("changes", [{}, {"max_seq_length": 161, "grad_checkpoint": True}])
def test_a_training_of_experts_peaks_where_it_was_predicted(
    config: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Adapters on every expert, in a fresh process."""
    runs(config, small(**changes), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_a_checkpoint_of_small_floats_is_predicted(mode: str, bits: int, group: int) -> None:
    """The embedding decodes the rows that it looks up."""
    stored = {"bits": bits, "group_size": group, "mode": mode}
    config = qwen(quantization=stored, tie_word_embeddings=False)
    runs(config, small(bits=bits, group_size=group, num_layers=1), rel=0.03)


@pytest.mark.slow
def test_a_generation_that_keeps_the_end_of_a_convolution_is_predicted() -> None:
    """Qwen3.5 keeps a contiguous copy of its last rows."""
    settings = small(inference=True, prompt_tokens=40, generate_tokens=4)
    found = predict(QWEN3_5, settings)
    measured = measure(QWEN3_5, settings, timeout_s=120)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes


def runs(config: dict[str, Any], settings: Settings, *, rel: float) -> None:
    """Compare a prediction with MLX-LM's own trainer in a fresh process."""
    found = predict(config, settings)
    measured = measure(config, settings, steps=4, timeout_s=120)
    assert found.peak_bytes == pytest.approx(measured.peak_bytes, rel=rel)
    assert found.peak_low_bytes <= measured.peak_bytes <= found.peak_high_bytes


def test_no_mark_is_part_of_a_model_or_of_its_gradient() -> None:
    """Of a family with tanh in its activation, whose gradient has a cosine of its own."""
    config = qwen(model_type="gemma3_text", head_dim=32, sliding_window_pattern=2)
    settings = small(num_layers=1)
    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    found = names(trace.training(model, settings)[-1].graph)
    assert found["Cosh"] >= 1
    assert not {"Contiguous", "FromFP8", "ToFP8", "SegmentedMM"} & set(found)
