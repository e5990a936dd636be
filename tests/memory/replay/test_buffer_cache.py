"""Freed buffers are reused as MLX reuses them, and count with their whole size."""

from __future__ import annotations

import pytest

from mlx_preflight.memory.replay import rules
from mlx_preflight.memory.replay.buffer_cache import BufferCache

PAIRS = [
    (100_000, 100_000),
    (100_000, 99_000),
    (100_000, 92_000),
    (100_000, 91_809),
    (100_000, 91_808),
    (100_000, 100_001),
    (6_000, 3_001),
    (6_000, 3_000),
    (6_000, 1_000),
]
"""Bytes that were freed and bytes that are asked for, around both limits."""


@pytest.mark.parametrize(("freed", "asked"), PAIRS)
def test_a_request_gets_what_mlx_gives_it(freed: int, asked: int) -> None:
    """The real allocator counts as many bytes as active."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    mx.synchronize()
    first = mx.zeros((freed,), mx.uint8)
    mx.eval(first)
    mx.synchronize()
    mx.clear_cache()
    del first
    before = mx.get_active_memory()
    cached = mx.get_cache_memory()
    second = mx.zeros((asked,), mx.uint8)
    mx.eval(second)
    mx.synchronize()
    real = mx.get_active_memory() - before
    cache = BufferCache(rules.CPU_PAGE, rules.CPU_CACHE)
    cache.give(freed)
    assert cached == freed
    # The scalar that fills the array takes some bytes of its own.
    assert cache.take(asked) == pytest.approx(real, abs=64)


def test_the_smallest_that_is_large_enough_is_taken_once() -> None:
    """Neither a larger one nor the same one again."""
    cache = BufferCache(rules.CPU_PAGE, None)
    for size in (10_500, 10_200, 11_000):
        cache.give(size)
    assert [cache.take(10_000) for _ in range(4)] == [10_200, 10_500, 11_000, 10_000]


def test_a_full_cache_keeps_no_more() -> None:
    """What exceeds the limit goes back to the system; taking makes room again."""
    cache = BufferCache(rules.CPU_PAGE, 10_000)
    cache.give(6_000)
    cache.give(6_100)
    assert [cache.take(5_900), cache.take(5_900)] == [6_000, 5_900]
    cache.give(6_100)
    assert cache.take(5_900) == 6_100
