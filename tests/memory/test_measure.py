"""A measurement that cannot finish is an error with its cause."""

from __future__ import annotations

import math
import types

import pytest

from mlx_preflight.core.errors import ChildError
from mlx_preflight.memory.measure import measure
from tests.memory.models import qwen, small


@pytest.mark.slow
def test_a_child_that_fails_says_why() -> None:
    """mlx_lm's own message reaches the parent, whatever numbers the config holds."""
    with pytest.raises(ChildError, match="qwen22 not supported"):
        measure(qwen(model_type="qwen22", time_step_limit=[0.0, math.inf]), small(), timeout_s=60)


@pytest.mark.slow
def test_a_run_without_a_limit_may_not_take_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free now is the limit where none is given."""
    free = types.SimpleNamespace(available=55_000_000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(ChildError, match=r"more than the limit of 0\.0\d+ GB"):
        measure(qwen(), small(), timeout_s=60)


@pytest.mark.slow
def test_a_child_over_its_memory_limit_dies_alone() -> None:
    """The machine survives, and the message has both numbers."""
    with pytest.raises(ChildError, match=r"more than the limit of 0\.0\d+ GB"):
        measure(qwen(), small(), timeout_s=60, memory_limit_bytes=50_000_000)


@pytest.mark.slow
def test_a_child_past_its_time_is_killed() -> None:
    """Nothing waits for a measurement longer than asked."""
    with pytest.raises(ChildError, match="did not end within"):
        measure(qwen(), small(), timeout_s=0.3)
