"""Cache of freed buffers for reuse, as MLX's allocators keep one.

A reused buffer may be larger than what was asked for, and all of it counts as active:
in a model of a few MB that is a tenth of the peak.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from mlx_preflight.memory.replay import rules


class BufferCache:
    """Sizes of free buffers (mlx/backend/common/buffer_cache.h, 0.32)."""

    def __init__(self, page: int, limit: int | None) -> None:
        """Start empty.

        Args:
            page: The allocator's page; a reused buffer is less than two pages too large.
            limit: Bytes that may be kept; None for no limit.
        """
        self._page = page
        self._limit = limit
        self._sizes: list[int] = []
        self._bytes = 0

    def take(self, nbytes: int) -> int:
        """Return the size of the buffer for a request: the smallest kept one, or a new one."""
        place = bisect_left(self._sizes, nbytes)
        if place == len(self._sizes):
            return nbytes
        found = self._sizes[place]
        if found >= min(rules.REUSE_FACTOR * nbytes, nbytes + rules.REUSE_PAGES * self._page):
            return nbytes
        del self._sizes[place]
        self._bytes -= found
        return found

    def give(self, nbytes: int) -> None:
        """Keep a freed buffer, unless the cache would exceed its limit."""
        if nbytes and (self._limit is None or self._bytes + nbytes <= self._limit):
            insort(self._sizes, nbytes)
            self._bytes += nbytes
