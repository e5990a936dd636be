"""The one training harness: what it records, and that recording keeps no array alive."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import mlx.core as mx

from mlx_preflight.memory import architecture, trainer
from tests.memory.models import qwen, small

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


def test_recording_keeps_no_array_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback holds numbers of Python alone, so it changes no counter that it reads."""
    monkeypatch.chdir(tmp_path)
    settings = small(backend="cpu")
    model = architecture.build(qwen(), settings)
    optimizer = architecture.optimizer(model, settings, initialised=False)
    rows = [([3] * settings.max_seq_length, 0)] * settings.batch_size
    steps = trainer.train(model, optimizer, settings, rows, steps=3)
    figures: list[Sequence[float | None]] = [
        steps.losses,
        steps.step_s,
        steps.tokens_per_s,
        steps.peak_bytes,
    ]
    assert [len(values) for values in figures] == [3] * 4
    assert {type(value) for values in figures for value in values} == {float, int}
    assert vars(steps).keys() == {
        *("before_bytes", "losses", "step_s", "tokens_per_s", "peak_bytes")
    }
    assert steps.peak_bytes == sorted(steps.peak_bytes)
    gc.collect()
    # Nor is anything reset between steps: the last peak is that of the whole run.
    assert steps.peak_bytes[-1] == mx.get_peak_memory()
