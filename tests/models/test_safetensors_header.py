"""Tests of the safetensors header reader against valid, damaged and hostile files."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.models.safetensors_header import DTYPE_BITS, read_header

VALID = save({"b": np.ones((2, 3), np.float32), "a": np.zeros(4, np.float16)}, {"format": "np"})


def packed(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return path


def refusal(folder: Path, content: bytes) -> CheckpointError:
    path = written(folder, content)
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_valid_file_is_described(tmp_path: Path) -> None:
    """A file of the safetensors library is read with its names, shapes and offsets."""
    path = written(tmp_path, VALID)
    tensors = read_header(path)
    assert set(tensors) == {"a", "b"}
    b = tensors["b"]
    assert (b.dtype, b.shape, b.file, b.elements, b.nbytes) == ("F32", (2, 3), path.name, 6, 24)
    assert path.read_bytes()[b.begin : b.end] == np.ones((2, 3), np.float32).tobytes()


def test_every_dtype_of_the_format_is_accepted(tmp_path: Path) -> None:
    """Eight elements of each dtype take as many bytes as the dtype has bits."""
    header, position = {}, 0
    for dtype, bits in DTYPE_BITS.items():
        header[dtype] = entry(dtype, [8], [position, position + bits])
        position += bits
    assert set(read_header(written(tmp_path, packed(header, bytes(position))))) == set(DTYPE_BITS)


def test_scalars_and_empty_tensors_are_accepted(tmp_path: Path) -> None:
    """A scalar has one element, and a dimension of zero takes no bytes."""
    header = {"scalar": entry(shape=[]), "empty": entry(shape=[3, 0], offsets=[0, 0])}
    tensors = read_header(written(tmp_path, packed(header, bytes(4))))
    assert tensors["scalar"].elements == 1
    assert tensors["empty"].elements == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\x01\x02", "has 2 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (packed(b"{}", length=100_000_001), "over the 100,000,000"),
        (packed(b"{}", length=2**64 - 1), "over the 100,000,000"),
        (packed(b"{}", length=3), "only 2 follow"),
        (VALID[:-1], "is truncated"),
        (VALID[:40], "only 32 follow"),
        (VALID + b"\0", "trailing bytes"),
        (packed(b""), "where '{' is expected"),
        (packed(b"[]"), "where '{' is expected"),
        (packed(b"{'a'}"), "not valid JSON"),
        (packed(b'{"a\xff": 1}'), "not UTF-8 text: byte 0xff"),
        (packed(b'{"a":' * 50_000), "nested too deeply"),
        (packed(b'{"a":[' + b"0," * 5_000_001), "more than 5,000,000 JSON values"),
        (packed(b'{"a":%s}' % (b"9" * 5000)), "not valid JSON"),
        (packed(b'{"a": 1, "a": 2}'), "the key 'a' occurs twice"),
        (packed({"__metadata__": {"a": 1}}), "__metadata__"),
        (packed({"__metadata__": "x"}), "__metadata__"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """Each kind of damage to the header has a message of its own."""
    assert said in str(refusal(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a", 1, "not an object"),
        ("", entry(), "printable name"),
        ("a\0b", entry(), "printable name"),
        ("\ud800", entry(), "printable name"),
        ("a" * 1025, entry(), "printable name"),
        ("a", entry("Q4"), "dtype 'Q4' is unknown"),
        ("a", entry() | {"dtype": []}, "dtype [] is unknown"),
        ("a", {"dtype": "F32", "data_offsets": [0, 4]}, "shape is None"),
        ("a", entry(shape=[-1]), "shape is [-1]"),
        ("a", entry(shape=[True]), "shape is [True]"),
        ("a", entry(shape=[1.0]), "shape is [1.0]"),
        ("a", entry(shape=[1] * 65), "at most 64 integers"),
        ("a", entry(shape=[2**63]), "from 0 to 2^63-1"),
        ("a", entry(offsets=[0, -4]), "data_offsets is [0, -4]"),
        ("a", entry(offsets=[0]), "data_offsets are [0]"),
        ("a", entry(offsets=[4, 0]), "data_offsets are [4, 0]"),
        ("a", entry("F16"), "takes 16 bits"),
        ("a", entry("F4", [1], [0, 0]), "takes 4 bits"),
        ("a", entry(shape=[2**62] * 64), "over 2^63 bits"),
    ],
)
def test_malformed_entry_is_refused(tmp_path: Path, name: str, value: Any, said: str) -> None:
    """An entry that breaks the format is named with the value that was seen."""
    assert said in str(refusal(tmp_path, packed({name: value}, bytes(4))))


def test_petabyte_header_is_refused_by_arithmetic(tmp_path: Path) -> None:
    """A header that claims petabytes is refused without allocating them."""
    size = 2**52
    content = packed({"a": entry(shape=[size // 4], offsets=[0, size])}, bytes(16))
    tracemalloc.start()
    try:
        error = refusal(tmp_path, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "is truncated" in str(error)
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ([[0, 4], [4, 8]], ""),
        ([[4, 8], [0, 4]], ""),
        ([[0, 4], [2, 6]], "overlaps"),
        ([[0, 4], [0, 4]], "overlaps"),
        ([[0, 4], [6, 10]], "leaves a hole"),
        ([[1, 5], [5, 9]], "leaves a hole"),
    ],
)
def test_tensors_must_cover_the_data(tmp_path: Path, offsets: list[list[int]], said: str) -> None:
    """Tensors in any order are accepted only when they cover every byte once."""
    header = {f"t{number}": entry(offsets=pair) for number, pair in enumerate(offsets)}
    content = packed(header, bytes(max(end for _, end in offsets)))
    if said:
        assert said in str(refusal(tmp_path, content))
    else:
        assert next(iter(read_header(written(tmp_path, content)).values())).nbytes == 4


def test_flipped_bit_in_the_header_is_refused(tmp_path: Path) -> None:
    """One flipped bit of an offset's digit no longer matches shape and size."""
    position = VALID.index(b"data_offsets") + len(b'data_offsets":[')
    flipped = bytearray(VALID)
    flipped[position] ^= 1
    refusal(tmp_path, bytes(flipped))


def test_absent_file_directory_and_fifo_are_refused(tmp_path: Path) -> None:
    """Nothing but a regular file is read, and a FIFO does not block."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    expected = {
        tmp_path / "absent": "No such file",
        tmp_path: "not a regular file",
        tmp_path / "fifo": "not a regular file",
        tmp_path / "link": "broken link",
        tmp_path / "nul\0": "null byte",
    }
    for path, said in expected.items():
        with pytest.raises(CheckpointError, match=said):
            read_header(path)


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    cut=st.integers(0, len(VALID)),
    insert=st.binary(max_size=8),
)
def test_mutated_files_never_crash_the_reader(
    tmp_path: Path, flips: list[tuple[int, int]], cut: int, insert: bytes
) -> None:
    """Random damage gives a description or a CheckpointError, and allocates little."""
    content = bytearray(VALID)
    for position, byte in flips:
        content[position] = byte
    content[cut:cut] = insert
    path = written(tmp_path, bytes(content))
    tracemalloc.start()
    try:
        tensors = read_header(path)
    except CheckpointError:
        tensors = {}
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5_000_000
    assert all(tensor.end <= len(content) for tensor in tensors.values())


def test_a_file_that_mlx_saved_without_metadata_is_read(tmp_path: Path) -> None:
    """MLX writes null for it, as it does for every adapter."""
    import mlx.core as mx

    path = tmp_path / "model.safetensors"
    mx.save_safetensors(str(path), {"a": mx.zeros((2, 3))})
    assert b"null" in path.read_bytes()
    assert [*read_header(path)] == ["a"]
