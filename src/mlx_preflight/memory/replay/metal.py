"""The fused kernels of Metal, executed on simulated buffers (mlx/backend/metal, 0.32)."""

from __future__ import annotations

from mlx_preflight.memory.replay import layout as layouts
from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.replay.graph import Node
from mlx_preflight.memory.replay.layout import Layout
from mlx_preflight.memory.replay.liveness import Machine


def norm(machine: Machine, node: Node) -> None:
    """Run RMSNorm or LayerNorm in place, or into a buffer like the input's."""
    source, out = node.inputs[0], node.outputs[0]
    layout = machine.layout[source]
    machine.dispatches += 1
    if not _dense_rows(layout):
        machine.fresh(out)
        machine.dispatches += 1
    elif machine.donatable(source):
        machine.donate(out, source)
    else:
        machine.like(out, source)


def _dense_rows(layout: Layout) -> bool:
    if not layout.contiguous or layout.strides[-1] != 1:
        return False
    return (
        len(layout.shape) == 1
        or layout.shape[-2] == 1
        or (layout.strides[-2] in {0, layout.shape[-1]})
    )


def norm_gradient(machine: Machine, node: Node) -> None:
    """Run the backward kernel: gradient of the input, and of the weight in two stages."""
    source, weight, cotangent = node.inputs[0], node.inputs[1], node.inputs[-1]
    out, graph = node.outputs[0], machine.graph
    machine.dispatches += 1
    for item in (source, cotangent):
        if not machine.layout[item].row:
            machine.temporary(out, graph.nbytes(item))
            machine.dispatches += 1
    for item in (source, cotangent):
        if machine.layout[item].row and machine.donatable(item):
            machine.donate(out, item)
            break
    else:
        machine.fresh(out)
    if graph.shapes[weight]:
        width = graph.nbytes(weight)
        rows = layouts.dense(graph.shapes[source]).size // graph.shapes[source][-1]
        machine.temporary(out, min(rows, rules.NORM_GROUPS) * width)
        machine.temporary(out, width)
        machine.dispatches += 1


def rope(machine: Machine, node: Node) -> None:
    """Rotate in place if the input is row-major and dies, else into a new buffer."""
    source, out = node.inputs[0], node.outputs[0]
    machine.dispatches += 1
    if machine.layout[source].row and machine.donatable(source):
        machine.donate(out, source)
    else:
        machine.fresh(out)


def attention(machine: Machine, node: Node) -> None:
    """Allocate the result of fused attention; copy what is not dense in its last dimension."""
    out = node.outputs[0]
    for item in node.inputs:
        if machine.layout[item].strides[-1] != 1:
            machine.temporary(out, machine.graph.nbytes(item))
            machine.dispatches += 1
    shape = machine.graph.shapes[out]
    heads, length, width = shape[1:]
    machine.allocate(out, machine.graph.nbytes(out))
    strides = (length * heads * width, width, heads * width, 1)
    size = layouts.dense(shape).size
    machine.layout[out] = Layout(
        shape, strides, contiguous=True, row=False, col=False, data_size=size
    )
    machine.dispatches += 1


def kernel(machine: Machine, node: Node) -> None:
    """Run a kernel of a model's own, on row-major inputs (mlx/backend/metal/custom_kernel.cpp)."""
    for out in node.outputs:
        machine.fresh(out)
    machine.dispatches += 1
    for item in node.inputs:
        if not machine.layout[item].row:
            machine.temporary(node.outputs[0], machine.graph.nbytes(item))
            machine.dispatches += 1
