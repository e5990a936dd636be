"""The heartbeat beside a block of work."""

from __future__ import annotations

import threading

import pytest

from mlx_preflight.core.heartbeat import heartbeat


def _break(beaten: threading.Event) -> None:
    assert beaten.wait(10)
    raise threading.BrokenBarrierError


def test_it_beats_until_the_block_ends() -> None:
    """A block that lasts is noted; once it ended, also by an error, no thread is left."""
    beaten = threading.Event()
    before = threading.active_count()
    with pytest.raises(threading.BrokenBarrierError), heartbeat(0.001, beaten.set):
        _break(beaten)
    assert threading.active_count() == before
