"""The replay of a traced function allocates what MLX allocates when it runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlx_preflight.memory.replay import fusion, liveness, schedule, simulation, trace

SIDE = 256

SCALARS = 16384
"""Bytes by which constants and reused buffers may differ; an array has 256 kB."""


def _functions() -> dict[str, Callable[[Any], Any]]:
    import mlx.core as mx
    from mlx import nn

    mask = (SIDE, 1)

    def shared(x: Any) -> Any:
        y = mx.sin(x)
        return (y @ y) * mx.exp(y) + y[:, :1]

    return {
        "transposed product": lambda x: (x.T @ x) @ x[:, ::2],
        "broadcast": lambda x: x + mx.sum(x, axis=0, keepdims=True) * x,
        "reshape of a transpose": lambda x: mx.reshape(x.T, (4, SIDE // 4, SIDE)) * 2,
        "slices joined": lambda x: mx.concatenate([x[:10], x[20:], x[:3] * 2]),
        "split": lambda x: mx.concatenate([part.T for part in mx.split(x, 4, axis=1)], axis=1),
        "other type": lambda x: mx.exp(x).astype(mx.bfloat16).astype(mx.float32) @ x,
        "softmax": lambda x: mx.softmax(mx.exp(x), axis=-1) @ mx.softmax(x.T, axis=-1),
        "log-sum-exp": lambda x: mx.logsumexp(x.T, axis=-1, keepdims=True) - x,
        "take and scatter": mx.grad(lambda x: mx.take(x, mx.arange(5), axis=0).sum()),
        "take along axis": lambda x: mx.take_along_axis(x, mx.zeros(mask, mx.int32), axis=1) + x,
        "select": lambda x: mx.where(x > 0, mx.exp(x), x.T),
        "update of a slice": lambda x: mx.slice_update(x * 2, x[:4], mx.array([3]), [0]),
        "cumulative sum": lambda x: mx.cumsum(x.T, axis=0) + x,
        "matrix product and sum": lambda x: mx.addmm(x[0], mx.exp(x), x),
        "attention": lambda x: mx.fast.scaled_dot_product_attention(
            *(x.reshape(1, 4, SIDE, SIDE // 4),) * 3, scale=1.0, mask="causal"
        ),
        "loss": lambda x: mx.grad(
            lambda y: nn.losses.cross_entropy(y @ x, mx.zeros((SIDE,), mx.int32)).sum()
        )(x),
        "norm": lambda x: mx.fast.rms_norm(x, x[0], 1e-5) + mx.fast.layer_norm(x, None, None, 1e-5),
        "quantized product": lambda x: mx.quantized_matmul(
            mx.exp(x), *mx.quantize(x, 64, 4), group_size=64, bits=4
        ),
        "shared result": shared,
    }


@pytest.mark.parametrize("name", list(_functions()))
def test_replayed_peak_is_the_real_peak(name: str) -> None:
    """It lies between the peaks with a worker that keeps up and one far behind."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    function = _functions()[name]
    argument = mx.random.uniform(shape=(SIDE, SIDE))
    mx.eval(argument)
    graph = trace.export(lambda x: [function(x)], [argument], ["weights"])
    order = schedule.order(graph, graph.outputs)
    keep = [*graph.outputs, *graph.inputs]
    lags = [liveness.Lag(), *(liveness.TaskLag(phase) for phase in range(10))]
    peaks = [simulation.run(liveness.Machine(graph, order, keep, lag)).peak_bytes for lag in lags]
    mx.synchronize()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(function(argument))
    mx.synchronize()
    real = mx.get_peak_memory() - before + argument.nbytes
    assert min(peaks) - SCALARS <= real <= max(peaks) + SCALARS


@pytest.mark.parametrize(("results", "arrays"), [(1, 1), (2, 3)])
def test_a_kernel_with_several_results_overwrites_nothing(results: int, arrays: int) -> None:
    """Each result refers to the inputs, so none of them is free to be donated."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)

    def function(x: Any) -> list[Any]:
        y = mx.exp(x) * 2
        return [y + 1, y][:results]

    argument = mx.random.uniform(shape=(SIDE, SIDE))
    mx.eval(argument)
    size = argument.nbytes
    graph = fusion.fuse(trace.export(function, [argument], ["weights"]))
    order = schedule.order(graph, graph.outputs)
    assert [node.name for node in graph.nodes] == ["Compiled"]
    replayed = simulation.run(
        liveness.Machine(graph, order, graph.outputs, liveness.Lag())
    ).peak_bytes
    mx.synchronize()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    found = mx.compile(function)(argument)
    del argument
    mx.eval(found)
    mx.synchronize()
    real = max(mx.get_peak_memory() - before, 0) + size
    assert abs(real - arrays * size) <= SCALARS
    assert abs(replayed - arrays * size) <= SCALARS
