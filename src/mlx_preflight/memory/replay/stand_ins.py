"""Stand-ins for the fused kernels of Metal, to trace on a machine without Metal.

On the CPU `mx.fast.rms_norm`, `layer_norm`, `rope` and attention unfold into elementary
primitives (mlx/fast.cpp 0.32, `use_fallback`); on Metal each is one kernel with its own
backward kernel. While a function is traced, they are replaced by expressions that can be
exported and differentiated and that no model contains, and `restore` renames these in the
graph. A kernel with input x becomes `x * h`, where h is a constant to the differentiation and
names the kernel: its backward kernel then shows as `cotangent * h`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, SimpleNamespace
from typing import Any

import mlx.core as mx
from mlx.nn import utils
from mlx_lm.models import gated_delta

from mlx_preflight.memory.replay.graph import Graph, Node

MARKS = {
    "ArcCosh": ("RMSNorm", "RMSNormVJP"),
    "ArcSinh": ("LayerNorm", "LayerNormVJP"),
    "ArcTanh": ("RoPE", "RoPE"),
}
"""Exported names of functions that no language model calls, and the kernels they mark."""

ATTENTION_MARK = "ArcSin"
"""Likewise for attention, which is fused in inference only and needs no gradient."""

KERNEL_MARK = "ErfInv"
"""Likewise for a kernel of mlx_lm's own, which has several results and no gradient."""

KERNEL_WIDTH = 32
"""Width of keys whose multiples mlx_lm/models/gated_delta.py (0.32) has a kernel for."""

ATTENTION_WIDTHS = frozenset({64, 72, 80, 96, 128})
"""Head widths of the fused kernel for more than 8 queries: those it supports less those for
which the unfused path is chosen (mlx/backend/metal/scaled_dot_product_attention.cpp)."""

VECTOR_WIDTHS = frozenset({64, 96, 128, 256})
"""Head widths of the fused kernel for up to 8 queries, likewise."""

VECTOR_QUERIES = 8
"""Most queries that the vector kernel takes."""

VECTOR_ROWS = 32
"""Most queries times query heads per key head that it takes."""


@contextlib.contextmanager
def fused(*, inference: bool, own: bool = False) -> Iterator[None]:
    """Make `mx.fast` return stand-ins for Metal's kernels.

    Args:
        inference: Whether attention is fused too; in training it is not.
        own: Whether mlx_lm runs kernels of its own; in training it does not.
    """
    replacements: dict[str, Callable[..., Any]] = {
        "rms_norm": _rms_norm,
        "layer_norm": _layer_norm,
        "rope": _rope,
    }
    if inference:
        original = mx.fast.scaled_dot_product_attention
        replacements["scaled_dot_product_attention"] = _attention(original)
    loops = {"gated_delta_ops": _gated_delta(gated_delta.gated_delta_ops)} if own else {}
    with replaced(mx.fast, replacements), replaced(gated_delta, loops):
        yield


@contextlib.contextmanager
def replaced(owner: Any, functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Give a module, or a class, other functions for a while."""
    old = {name: getattr(owner, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, function in old.items():
            setattr(owner, name, function)


@contextlib.contextmanager
def drawn(key: list[Any]) -> Iterator[None]:
    """Let dropout draw from a key that can be traced; MLX's own state cannot be replaced.

    Args:
        key: One array, replaced as `KeySequence::next` (mlx/random.cpp 0.32) does; or none.
    """
    original = mx.random.bernoulli

    def bernoulli(p: Any, shape: Any) -> Any:
        key[0], own = mx.random.split(key[0])
        return original(p, shape, key=own)

    with replaced(mx.random, {original.__name__: bernoulli} if key else {}):
        yield


def averaged(gradients: Any, ranks: int) -> Any:
    """Return gradients as `average_gradients` of MLX (0.32) leaves them; nothing is sent.

    A softmax stands for the sum over processes: both write into their argument where nobody
    else holds it (mlx/backend/cpu/distributed.cpp), and neither is fused.

    Args:
        gradients: Tree of arrays.
        ranks: Processes that would take part.
    """
    if ranks == 1:
        return gradients
    group = SimpleNamespace(size=lambda: ranks)
    network = SimpleNamespace(all_sum=lambda x, **_: mx.softmax(x, axis=-1), init=lambda: group)
    inside = {**vars(utils), "mx": SimpleNamespace(**{**vars(mx), "distributed": network})}
    real = utils.average_gradients
    inside[real.__name__] = FunctionType(real.__code__, inside, argdefs=real.__defaults__)
    return inside[real.__name__](gradients)


def _kernel(mark: Callable[[Any], Any], x: Any, rest: list[Any]) -> Any:

    return x * mx.stop_gradient(mx.depends([mark(x)], rest)[0])


def _rms_norm(x: Any, weight: Any, *_: Any, **__: Any) -> Any:

    if weight is None:
        return _kernel(mx.arccosh, x, [mx.array(1, x.dtype)])
    kind = mx.result_type(x, weight)
    return _kernel(mx.arccosh, x.astype(kind), [weight.astype(kind)])


def _layer_norm(x: Any, weight: Any, bias: Any, *_: Any, **__: Any) -> Any:

    given = [array for array in (weight, bias) if array is not None]
    kind = mx.result_type(x, *given)
    absent = [mx.array(0, kind)] * (2 - len(given))
    return _kernel(mx.arcsinh, x.astype(kind), [*(a.astype(kind) for a in given), *absent])


def _rope(x: Any, *_: Any, **keywords: Any) -> Any:

    offset, frequencies = keywords.get("offset", 0), keywords.get("freqs")
    rest = [offset if isinstance(offset, mx.array) else mx.array(offset, mx.int32)]
    if frequencies is not None:
        rest.append(frequencies.astype(mx.float32))
    return _kernel(mx.arctanh, x, rest)


def _attention(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return attention that is fused where Metal has a kernel for it."""

    def attention(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
        if not _has_kernel(q.shape, k.shape, v.shape):
            return original(q, k, v, **keywords)
        mask = keywords.get("mask")
        rest = [k, v, *([mask] if isinstance(mask, mx.array) else [])]
        return mx.depends([mx.arcsin(q)], rest)[0]

    return attention


def _gated_delta(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of gated_delta.py as one kernel where Metal has it."""

    def rule(q: Any, k: Any, v: Any, g: Any, beta: Any, state: Any = None, mask: Any = None) -> Any:
        if state is None or k.shape[-1] % KERNEL_WIDTH:
            return original(q, k, v, g, beta, state, mask)
        rest = [q, k, v, g, beta, state, *([mask] if mask is not None else [])]
        results = [((*k.shape[:2], *v.shape[2:]), q.dtype), (state.shape, state.dtype)]
        blank = [mx.erfinv(mx.broadcast_to(mx.array(0, kind), shape)) for shape, kind in results]
        return tuple(mx.depends(blank, rest))

    return rule


def _has_kernel(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> bool:
    if q[-1] != v[-1]:
        return False
    if q[2] > VECTOR_QUERIES:
        return q[-1] in ATTENTION_WIDTHS
    return q[-1] in VECTOR_WIDTHS and q[2] * (q[1] // k[1]) <= VECTOR_ROWS


def restore(graph: Graph) -> None:
    """Give the stand-ins in a traced graph the names and inputs of Metal's kernels."""
    producer = {out: node for node in graph.nodes for out in node.outputs}
    kernels: dict[int, tuple[str, str, int, list[int]]] = {}
    dropped: set[int] = set()
    unread = False
    for node in graph.nodes:
        first = node.inputs[0] if node.inputs else -1
        if node.name == "StopGradient" and first in kernels:
            kernels[node.outputs[0]] = kernels[first]
            dropped.add(id(node))
        elif node.name == "Multiply":
            _restore_one(node, kernels)
        elif node.name == "Depends" and first in producer:
            mark = producer[first]
            if mark.name == KERNEL_MARK:
                node.name, node.inputs = "CustomKernel", node.inputs[len(node.outputs) :]
                unread = True
            elif mark.name in MARKS:
                names = MARKS[mark.name]
                kernels[node.outputs[0]] = (*names, mark.inputs[0], node.inputs[1:])
                dropped |= {id(node), id(mark)}
            elif mark.name == ATTENTION_MARK:
                node.name = "ScaledDotProductAttention"
                node.inputs = [mark.inputs[0], *node.inputs[1:]]
                dropped.add(id(mark))
    graph.nodes = [node for node in graph.nodes if id(node) not in dropped]
    if unread:
        graph.prune()


def _restore_one(node: Node, kernels: dict[int, tuple[str, str, int, list[int]]]) -> None:
    """Turn a product with a naming factor into the kernel or its backward kernel."""
    left, right = node.inputs
    if left in kernels:
        left, right = right, left
    if right not in kernels:
        return
    forward, backward, source, rest = kernels[right]
    if left == source:
        node.name, node.inputs = forward, [source, *rest]
    elif backward == "RoPE":
        node.name, node.inputs = backward, [left, *rest]
    else:
        node.name, node.inputs = backward, [source, *rest, left]
