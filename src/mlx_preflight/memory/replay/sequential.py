"""Loops over tokens, traced for a few tokens only.

Some blocks of mlx_lm (0.32) compute one token after the other in Python: the delta rule with
gates (gated_delta.py), Mamba (mamba.py, jamba.py), RWKV (rwkv7.py), linear attention
(bailing_moe_linear.py). MLX then runs every token's primitives, thousands of times the same.
While a function is traced, `range` over all tokens ends early in the modules of mlx_lm's
models, and what is joined of the results of such a loop gets its real length. The memory of all
tokens is a continuation of two such traces (`continuation`).
"""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm import models

from mlx_preflight.memory.replay.stand_ins import replaced


class Loops:
    """What was cut short.

    Attributes:
        most: Tokens that a loop runs over at most.
        tokens: Tokens that go through the model; a loop over as many is cut short.
        count: Loops over all tokens that were met.
        cut: Whether one was cut short.
    """

    def __init__(self, most: int) -> None:
        """Cut nothing yet."""
        self.most = most
        self.tokens = 0
        self.count = 0
        self.cut = False
        self._open = False

    def range(self, *bounds: int) -> builtins.range:
        """Return a range, cut short where it runs over all tokens."""
        if bounds != (self.tokens,):
            return builtins.range(*bounds)
        self.count += 1
        if self.tokens <= self.most:
            return builtins.range(*bounds)
        self.cut = self._open = True
        return builtins.range(self.most)

    def padded(self, arrays: Sequence[Any], axis: int) -> list[Any]:
        """Return what a loop made, one array per token, and the tokens that it left out."""
        if not self._open or len(arrays) != self.most or arrays[0].shape[axis] != 1:
            return list(arrays)
        self._open = False
        shape = list(arrays[0].shape)
        shape[axis] = self.tokens - self.most
        return [*arrays, mx.broadcast_to(mx.array(0, arrays[0].dtype), shape)]


FULL = 1024
"""Tokens of all loops together that are traced one by one: some seconds."""

LEAST, MOST = 32, 48
"""Tokens that the loops of the longer trace run over, at least and at most. Metal's command
buffers hold more tokens than short loops have: of Qwen3.5-4B at 512 tokens, loops of 8 tokens are
44 % off the whole trace, of 16 tokens 30 %, of 32 tokens 3 %, of 48 tokens 2 %, of 64 tokens 0.2 %
(2026-11-29)."""

WORK = 1700
"""Tokens of all loops of the longer trace together, above which they run over fewer: some 20 s."""

_ACTIVE: list[Loops] = []


def lengths(loops: int, tokens: int) -> tuple[int, int]:
    """Return the tokens that loops run over in the two traces: all of them where they are few.

    Args:
        loops: Loops over tokens that a model has.
        tokens: Most tokens that go through it at once.
    """
    if loops * tokens <= FULL:
        return tokens, tokens
    long = max(LEAST, min(MOST, WORK // loops))
    return long // 2, long


@contextlib.contextmanager
def shortened(loops: Loops) -> Iterator[None]:
    """Cut the loops over tokens of mlx_lm's models short."""
    stack, concatenate = mx.stack, mx.concatenate

    def stacked(arrays: Any, axis: int = 0, **named: Any) -> Any:
        if len(arrays) != loops.most:
            return stack(arrays, axis, **named)
        place = axis % (arrays[0].ndim + 1)
        grown = [mx.expand_dims(array, place) for array in arrays]
        return concatenate(loops.padded(grown, place), place, **named)

    def concatenated(arrays: Any, axis: int = 0, **named: Any) -> Any:
        return concatenate(loops.padded(arrays, axis), axis, **named)

    name = f"{models.__name__}."
    modules = [module for key, module in sys.modules.items() if key.startswith(name)]
    with contextlib.ExitStack() as entered:
        entered.enter_context(replaced(mx, {"stack": stacked, "concatenate": concatenated}))
        for module in modules:
            if "range" not in vars(module):
                vars(module)["range"] = loops.range
                entered.callback(vars(module).pop, "range")
        _ACTIVE.append(loops)
        entered.callback(_ACTIVE.pop)
        yield


@contextlib.contextmanager
def over(tokens: int) -> Iterator[None]:
    """Say how many tokens go through the model: loops over as many are cut short."""
    loops = _ACTIVE[-1] if _ACTIVE else Loops(tokens)
    before, loops.tokens = loops.tokens, tokens
    try:
        yield
    finally:
        loops.tokens = before
