"""Execution of a fused kernel on simulated buffers (mlx/backend/common/compiled.cpp 0.32)."""

from __future__ import annotations

from mlx_preflight.memory.replay import layout as layouts
from mlx_preflight.memory.replay.graph import Node
from mlx_preflight.memory.replay.liveness import Machine


def kernel(machine: Machine, node: Node) -> None:
    """Allocate the results of a fused kernel (`compiled_allocate_outputs`)."""
    graph = machine.graph
    constants = set(node.state[1])
    shape = graph.shapes[node.outputs[0]]
    machine.dispatches += 1
    contiguous = _runs_flat(machine, node, shape)
    waiting = list(node.outputs)
    flat_model: int | None = None
    for position, source in enumerate(node.inputs):
        if not waiting:
            break
        layout, out = machine.layout[source], waiting[0]
        # Flat kernels check no size: every input that is no scalar has the result's shape.
        fits = bool(layout.shape) if contiguous else layout.row and layout.size == _size(shape)
        if (
            fits
            and graph.itemsizes[source] == graph.itemsizes[out]
            and position not in constants
            and machine.donatable(source)
        ):
            if contiguous:
                machine.donate(out, source)
            else:
                machine.layout[out] = layouts.dense(shape)
                machine.share(out, machine.buffer[source])
            waiting.pop(0)
        if flat_model is None and layout.size == _size(shape):
            flat_model = source
    for out in waiting:
        if contiguous and flat_model is not None:
            machine.like(out, flat_model)
        else:
            machine.fresh(out)


def _size(shape: tuple[int, ...]) -> int:
    return layouts.dense(shape).size


def _runs_flat(machine: Machine, node: Node, shape: tuple[int, ...]) -> bool:
    """Return whether a fused kernel treats its arrays as flat (`compiled_check_contiguity`)."""
    count, any_order, row, col = 0, True, True, True
    for source in node.inputs:
        layout = machine.layout[source]
        if not layout.shape:
            continue
        count += 1
        same = layout.shape == shape
        any_order = any_order and layout.contiguous and same
        row = row and layout.row and same
        col = col and layout.col and same
    if count > 1:
        return row or col
    return any_order if count == 1 else not shape
