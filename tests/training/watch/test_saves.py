"""Adapter files as they are written."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx

from mlx_preflight.training.watch.saves import AdapterFiles

OLD, NEW = "0000010_adapters.safetensors", "0000020_adapters.safetensors"


def save(path: Path, size: int = 64) -> Path:
    """Write a file as the trainer does."""
    mx.save_safetensors(str(path), {"lora_a": mx.ones((size,))})
    return path


def test_a_new_file_counts_once_two_looks_find_it_equal(tmp_path: Path) -> None:
    """One from before the run never does."""
    save(tmp_path / OLD)
    files = AdapterFiles(tmp_path)
    assert files.look() == files.look() == []
    save(tmp_path / NEW)
    assert files.look() == []
    assert [item.iteration for item in files.look()] == [20]
    assert files.look() == []


def test_a_file_that_is_overwritten_is_new(tmp_path: Path) -> None:
    """A run in the folder of an earlier one writes the same names."""
    save(tmp_path / OLD)
    files = AdapterFiles(tmp_path)
    save(tmp_path / OLD, 128)
    files.look()
    assert [item.nbytes for item in files.look()] == [(tmp_path / OLD).stat().st_size]


def test_half_a_file_never_counts(tmp_path: Path) -> None:
    """Until the rest is there."""
    files = AdapterFiles(tmp_path)
    data = save(tmp_path / "whole").with_suffix(".safetensors").read_bytes()
    (tmp_path / NEW).write_bytes(data[:-8])
    assert [files.look() for _ in range(3)] == [[], [], []]
    (tmp_path / NEW).write_bytes(data)
    files.look()
    assert len(files.look()) == 1


def test_the_last_file_has_the_iterations_of_the_run(tmp_path: Path) -> None:
    """A folder that nobody made holds none."""
    files = AdapterFiles(tmp_path / "adapters")
    assert files.finished(7) is None
    (tmp_path / "adapters").mkdir()
    path = save(tmp_path / "adapters" / "adapters.safetensors")
    last = files.finished(7)
    assert last is not None
    assert (last.path, last.iteration) == (path, 7)
    assert AdapterFiles(None).look() == []
