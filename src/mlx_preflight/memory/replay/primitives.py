"""Primitives on simulated buffers: what each allocates, shares, donates or copies.

One function per kind of primitive, from mlx/backend/cpu/*.cpp and mlx/backend/common/*.h
(0.32). Whatever is not listed allocates its results and takes one dispatch.
"""

from __future__ import annotations

from collections.abc import Callable

from mlx_preflight.memory.replay import compiled, metal, rules
from mlx_preflight.memory.replay import layout as layouts
from mlx_preflight.memory.replay.graph import Node
from mlx_preflight.memory.replay.layout import Layout
from mlx_preflight.memory.replay.liveness import Machine


def execute(machine: Machine, node: Node) -> None:
    """Give every result of a node its buffer and layout, and count its dispatches."""
    _TABLE.get(node.name, _default)(machine, node)


def _default(machine: Machine, node: Node) -> None:
    for out in node.outputs:
        machine.fresh(out)
    machine.dispatches += 1


def _view(machine: Machine, node: Node) -> None:
    source, out = node.inputs[0], node.outputs[0]
    found = layouts.view_of(
        node.name, machine.layout[source], machine.graph.shapes[out], node.state
    )
    if found is None:
        machine.fresh(out)
        machine.dispatches += 1
    else:
        machine.layout[out] = found
        machine.share(out, machine.buffer[source])


def _split(machine: Machine, node: Node) -> None:
    source = node.inputs[0]
    for out in node.outputs:
        machine.layout[out] = layouts.split(machine.layout[source], machine.graph.shapes[out])
        machine.share(out, machine.buffer[source])


def _pass_on(machine: Machine, node: Node) -> None:
    """Share each input with the result at its place (`Depends`)."""
    for source, out in zip(node.inputs, node.outputs, strict=False):
        machine.layout[out] = machine.layout[source]
        machine.share(out, machine.buffer[source])


def _pass_last(machine: Machine, node: Node) -> None:
    """Share the last inputs with the results (`CustomTransforms`)."""
    sources = node.inputs[len(node.inputs) - len(node.outputs) :]
    for source, out in zip(sources, node.outputs, strict=True):
        machine.layout[out] = machine.layout[source]
        machine.share(out, machine.buffer[source])


def _unary(machine: Machine, node: Node) -> None:
    source, out = node.inputs[0], node.outputs[0]
    machine.dispatches += 1
    if not machine.layout[source].contiguous:
        machine.fresh(out)
    elif machine.donatable_to(source, out):
        machine.donate(out, source)
    else:
        machine.like(out, source)


def _copy(machine: Machine, source: int, out: int, *, vector: bool) -> None:
    """Copy an array as `copy_cpu` does: a dying source of the same type is handed over."""
    if not vector:
        machine.fresh(out)
        machine.dispatches += 1
    elif machine.donatable_to(source, out):
        machine.donate(out, source)
        machine.dispatches += machine.graph.dtypes[source] != machine.graph.dtypes[out]
    else:
        machine.like(out, source)
        machine.dispatches += 1


def _astype(machine: Machine, node: Node) -> None:
    source = node.inputs[0]
    _copy(machine, source, node.outputs[0], vector=machine.layout[source].contiguous)


def _full(machine: Machine, node: Node) -> None:
    layout = machine.layout[node.inputs[0]]
    vector = layout.data_size != 1 and layout.contiguous
    _copy(machine, node.inputs[0], node.outputs[0], vector=vector)


def _scatter(machine: Machine, node: Node) -> None:
    source = node.inputs[0]
    _copy(machine, source, node.outputs[0], vector=machine.layout[source].row)
    machine.dispatches += 1


def _slice_update(machine: Machine, node: Node) -> None:
    source = node.inputs[0]
    layout = machine.layout[source]
    vector = layout.data_size != 1 and layout.contiguous and layout.size == layout.data_size
    _copy(machine, source, node.outputs[0], vector=vector)
    machine.dispatches += 1


def _binary(machine: Machine, node: Node) -> None:
    a, b = node.inputs
    out = node.outputs[0]
    la, lb = machine.layout[a], machine.layout[b]
    machine.dispatches += 1
    if la.data_size == 1 and lb.data_size == 1:
        machine.layout[out] = Layout(
            machine.graph.shapes[out], la.strides, la.contiguous, la.row, la.col, 1
        )
        machine.allocate(out, machine.graph.itemsizes[out])
        return
    candidates: tuple[int, ...]
    if la.data_size == 1 and lb.contiguous:
        candidates, model = (b,), b
    elif lb.data_size == 1 and la.contiguous:
        candidates, model = (a,), a
    elif (la.row and lb.row) or (la.col and lb.col):
        candidates, model = (a, b), a
    else:
        _general(machine, node, out)
        return
    for source in candidates:
        if machine.donatable_to(source, out):
            machine.donate(out, source)
            return
    machine.like(out, model)


def _general(machine: Machine, node: Node, out: int) -> None:
    """Donate a row-major input of the result's size, or allocate."""
    size = layouts.dense(machine.graph.shapes[out]).size
    for source in node.inputs:
        layout = machine.layout[source]
        if layout.row and layout.size == size and machine.donatable_to(source, out):
            machine.donate(out, source)
            return
    machine.fresh(out)


def _select(machine: Machine, node: Node) -> None:
    out = node.outputs[0]
    found = [machine.layout[item] for item in node.inputs]
    machine.dispatches += 1
    if all(item.data_size == 1 for item in found):
        model = found[1]
        machine.layout[out] = Layout(
            machine.graph.shapes[out], model.strides, model.contiguous, model.row, model.col, 1
        )
        machine.allocate(out, machine.graph.itemsizes[out])
        return
    vector = all(item.row for item in found) or all(item.col for item in found)
    for source, layout in zip(node.inputs, found, strict=True):
        if (vector or layout.row) and machine.donatable_to(source, out):
            machine.donate(out, source)
            return
    if vector:
        machine.like(out, node.inputs[1])
    else:
        machine.fresh(out)


def _contiguous(machine: Machine, node: Node) -> None:
    """Share a row-major source whose buffer is hardly larger; copy any other."""
    source, out = node.inputs[0], node.outputs[0]
    most = machine.graph.nbytes(out) + rules.DONATION_EXTRA
    if machine.layout[source].row and machine.buffer[source].nbytes <= most:
        machine.layout[out] = machine.layout[source]
        machine.share(out, machine.buffer[source])
    else:
        _default(machine, node)


def _softmax(machine: Machine, node: Node) -> None:
    source, out = node.inputs[0], node.outputs[0]
    layout = machine.layout[source]
    machine.dispatches += 1
    if not (layout.contiguous and layout.strides[-1] == 1):
        machine.fresh(out)
        machine.dispatches += 1
    elif machine.donatable(source):
        machine.donate(out, source)
    else:
        machine.like(out, source)


def _logsumexp(machine: Machine, node: Node) -> None:
    source = node.inputs[0]
    layout = machine.layout[source]
    if not (layout.contiguous and layout.strides[-1] == 1):
        machine.temporary(node.outputs[0], machine.graph.nbytes(source))
        machine.dispatches += 1
    machine.fresh(node.outputs[0])
    machine.dispatches += 1


def _scan(machine: Machine, node: Node) -> None:
    if not machine.layout[node.inputs[0]].row:
        machine.temporary(node.outputs[0], machine.graph.nbytes(node.inputs[0]))
        machine.dispatches += 1
    _default(machine, node)


def _matmul(machine: Machine, node: Node) -> None:
    out = node.outputs[0]
    if node.name == "AddMM":
        layout = machine.layout[node.inputs[2]]
        vector = layout.data_size != 1 and layout.row
        _copy(machine, node.inputs[2], out, vector=vector)
    else:
        machine.fresh(out)
    machine.dispatches += 1
    for source in node.inputs[:2]:
        layout = machine.layout[source]
        rows, columns = layout.strides[-2:]
        plain = rows == layout.shape[-1] and columns == 1
        turned = rows == 1 and columns == layout.shape[-2]
        if not plain and not turned:
            machine.temporary(out, machine.graph.nbytes(source))
            machine.dispatches += 1


def _quantized(machine: Machine, node: Node) -> None:
    """Copy inputs that are not row-major, then allocate the product."""
    for source in node.inputs:
        if not machine.layout[source].row:
            machine.temporary(node.outputs[0], machine.graph.nbytes(source))
            machine.dispatches += 1
    _default(machine, node)


def _concatenate(machine: Machine, node: Node) -> None:
    machine.fresh(node.outputs[0])
    machine.dispatches += len(node.inputs)


_TABLE: dict[str, Callable[[Machine, Node], None]] = {
    **dict.fromkeys(
        [
            "Reshape",
            "Flatten",
            "Unflatten",
            "Transpose",
            "Broadcast",
            "BroadcastAxes",
            "ExpandDims",
            "Squeeze",
            "Slice",
            "Copy",
            "StopGradient",
        ],
        _view,
    ),
    **dict.fromkeys((*rules.UNARY, *rules.FP8), _unary),
    **dict.fromkeys(rules.BINARY, _binary),
    **dict.fromkeys(("Scatter", "ScatterAxis"), _scatter),
    **dict.fromkeys(("SliceUpdate", "DynamicSliceUpdate"), _slice_update),
    **dict.fromkeys(("Matmul", "AddMM", "SegmentedMM"), _matmul),
    "Split": _split,
    "Depends": _pass_on,
    "CustomTransforms": _pass_last,
    "AsType": _astype,
    "Full": _full,
    "Select": _select,
    "Compiled": compiled.kernel,
    "Contiguous": _contiguous,
    "Softmax": _softmax,
    "LogSumExp": _logsumexp,
    "Scan": _scan,
    "QuantizedMatmul": _quantized,
    "Concatenate": _concatenate,
    **dict.fromkeys(("RMSNorm", "LayerNorm"), metal.norm),
    **dict.fromkeys(("RMSNormVJP", "LayerNormVJP"), metal.norm_gradient),
    "RoPE": metal.rope,
    "ScaledDotProductAttention": metal.attention,
    "CustomKernel": metal.kernel,
}
